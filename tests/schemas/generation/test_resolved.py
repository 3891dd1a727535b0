"""What runs is decided, all of it."""

import pytest
from pydantic import ValidationError

from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.defaults import LIBRARY_DEFAULTS
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.generation.resolution import resolve
from beamhouse.schemas.generation.resolved import SILENT, Resolved
from tests.configs import running


def test_where_the_library_has_a_default_something_stands():
    config = resolve(GenerationConfig(), GenerationConfig(), prompt_len=3, context_len=None)
    told = {name: value for name, value in LIBRARY_DEFAULTS.items() if value is not None}
    assert {name: getattr(config, name) for name in told} == told | {"max_length": 23}


def test_a_default_stands_also_where_a_field_of_the_file_gave_way():
    file = GenerationConfig(num_beam_groups=2, diversity_penalty=0.5)
    config = resolve(GenerationConfig(do_sample=True), file, prompt_len=3, context_len=None)
    assert (config.num_beam_groups, config.diversity_penalty) == (1, 0.0)


@pytest.mark.parametrize(
    ("fields", "mode", "num_rows", "width"),
    [
        ({}, GenerationMode.GREEDY_SEARCH, 1, 1),
        ({"do_sample": True, "num_return_sequences": 3}, GenerationMode.SAMPLE, 3, 3),
        ({"num_beams": 4, "num_return_sequences": 2}, GenerationMode.BEAM_SEARCH, 4, 4),
        ({"num_beams": 4, "guidance_scale": 1.5}, GenerationMode.BEAM_SEARCH, 4, 8),
        ({"penalty_alpha": 0.6, "top_k": 5}, GenerationMode.CONTRASTIVE_SEARCH, 5, 5),
        ({"penalty_alpha": 0.6}, GenerationMode.CONTRASTIVE_SEARCH, 50, 50),
        ({"prompt_lookup_num_tokens": 3, "guidance_scale": 1.0}, GenerationMode.ASSISTED_GENERATION, 1, 1),
    ],
)
def test_the_mode_and_its_rows_are_known(fields, mode, num_rows, width):
    config = running(fields)
    assert (config.mode, config.num_rows, config.width) == (mode, num_rows, width)


def test_a_draft_model_is_named_where_it_decides_the_mode():
    config = resolve(GenerationConfig(), GenerationConfig(), prompt_len=1, context_len=None, assistant_model="small")
    assert (config.mode, config.assistant_model) == (GenerationMode.ASSISTED_GENERATION, "small")


@pytest.mark.parametrize(("given", "ends"), [(None, ()), (2, (2,)), ([5, 2], (5, 2)), ([], ())])
def test_end_tokens_are_a_tuple(given, ends):
    assert running({"eos_token_id": given}).eos_token_ids == ends


def test_prompt_lookup_looks_for_two_tokens_where_nobody_says():
    assert running({}).longest_ngram == 2
    assert running({"max_matching_ngram_size": 5}).longest_ngram == 5
    assert running({}).max_matching_ngram_size is None


def test_it_is_never_changed_in_place():
    with pytest.raises(ValidationError):
        SILENT.num_beams = 2
    assert SILENT.changed({"max_length": 9}).max_length == 9
    assert SILENT.max_length == LIBRARY_DEFAULTS["max_length"]


def test_it_has_a_length():
    with pytest.raises(AssertionError, match="how long"):
        Resolved.of(GenerationConfig())
