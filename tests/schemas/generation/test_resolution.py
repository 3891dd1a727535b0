"""Request over file over defaults, and lengths as numbers, beside what the library prepares."""

import copy
import logging

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolution import merge
from tests.schemas.generation.strategies import configs

CONTEXT_LEN = 64
LENGTHS = ("max_length", "max_new_tokens", "min_length", "min_new_tokens")


@pytest.fixture(scope="module")
def model():
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=CONTEXT_LEN,
    )
    return transformers.LlamaForCausalLM(config)


def prepared_by_library(model, request, file, prompt_len):
    """What `generate()` works out before its first step."""
    model.generation_config = transformers.GenerationConfig(**copy.deepcopy(file))
    asked = transformers.GenerationConfig(**copy.deepcopy(request))
    silent = {name: request.get(name) is None and file.get(name) is None for name in ("max_length", "min_length")}
    config, _ = model._prepare_generation_config(asked)
    return model._prepare_generated_length(
        config, silent["max_length"], silent["min_length"], "input_ids", prompt_len, None
    )


def ours(request, file, prompt_len, context_len=CONTEXT_LEN):
    return merge(GenerationConfig(**request), GenerationConfig(**file), prompt_len=prompt_len, context_len=context_len)


lengths = st.fixed_dictionaries({}, optional={name: st.integers(1, 80) for name in LENGTHS})


@settings(max_examples=200)
@given(request=lengths, file=lengths, prompt_len=st.integers(1, 63))
def test_lengths_asked_for_are_those_of_the_library(model, request, file, prompt_len):
    theirs = prepared_by_library(model, request, file, prompt_len)
    resolved = ours(request, file, prompt_len)
    limit = "max_new_tokens" if theirs.max_new_tokens else "max_length"
    if limit not in request and theirs.max_length <= prompt_len:
        # The library refuses; here a length of the file refuses nobody.
        assert resolved.max_length == min(prompt_len + 20, CONTEXT_LEN)
    elif limit in request or theirs.max_length <= CONTEXT_LEN:
        assert resolved.max_length == theirs.max_length
    else:
        assert resolved.max_length == CONTEXT_LEN
    least = "min_new_tokens" if theirs.min_new_tokens is not None else "min_length"
    if least in request or theirs.min_length <= resolved.max_length:
        assert resolved.min_length == theirs.min_length
    else:
        assert resolved.min_length == max(resolved.max_length, prompt_len if least == "min_new_tokens" else 0)


FOREIGN = {"constraints", "compile_config", "continuous_batching_config", "watermarking_config", *LENGTHS}
FOREIGN |= {"return_legacy_cache", "forced_decoder_ids", "generation_kwargs", "suppress_tokens"}
MAY_YIELD = {"assistant_early_exit", "prompt_lookup_num_tokens", "use_mtp", "dola_layers", "diversity_penalty"}
MAY_YIELD |= {"output_scores", "output_logits", "output_hidden_states", "output_attentions"}
MAY_YIELD |= {
    "exponential_decay_length_penalty",
    "prefill_chunk_size",
    "use_cache",
    "assistant_ensemble_weight",
    "num_beam_groups",
}


@settings(max_examples=80)
@given(request=configs(FOREIGN | {"num_return_sequences"}), file=configs(FOREIGN | {"num_return_sequences"}))
def test_values_are_those_of_the_library(model, request, file):
    theirs = prepared_by_library(model, request, file, 5).to_dict()
    resolved = ours(request, file, 5).to_dict()
    for name in GenerationConfig.model_fields.keys() - {"cache_config"} - (MAY_YIELD - request.keys()):
        # What is False by default stays unset in some places of the library.
        assert (resolved[name] or None) == (theirs.get(name) or None), name


def test_an_empty_list_of_end_tokens_goes_over_those_of_the_file():
    file = {"eos_token_id": 2, "exponential_decay_length_penalty": [3, 1.1]}
    resolved = ours({"eos_token_id": []}, file, 7)
    assert (resolved.eos_token_id, resolved.exponential_decay_length_penalty) == ([], None)
    assert ours({}, file, 7).exponential_decay_length_penalty == (3, 1.1)
    asked = {"eos_token_id": [], "exponential_decay_length_penalty": [4, 1.1]}
    assert ours(asked, file, 7).exponential_decay_length_penalty == (4, 1.1)  # to be refused by its name


def test_nothing_set_means_twenty_tokens_after_the_prompt():
    assert ours({}, {}, 7).max_length == 27
    assert ours({}, {}, 50).max_length == CONTEXT_LEN
    assert ours({}, {}, 50, context_len=None).max_length == 70


def test_a_limit_of_the_file_alone_never_exceeds_the_context():
    assert ours({}, {"max_new_tokens": 1000}, 10).max_length == CONTEXT_LEN
    assert ours({}, {"max_length": 1000}, 10).max_length == CONTEXT_LEN
    assert ours({"max_new_tokens": 1000}, {}, 10).max_length == 1010


def test_a_minimum_of_the_file_alone_gives_way_to_the_request():
    short = ours({"max_new_tokens": 3}, {"min_length": 56, "max_length": 60}, 10)
    assert (short.min_length, short.max_length) == (13, 13)
    short = ours({"max_new_tokens": 3}, {"min_new_tokens": 9}, 10)
    assert (short.min_new_tokens, short.min_length) == (3, 13)
    assert short.problems() == []
    assert ours({"max_new_tokens": 3, "min_length": 56}, {}, 10).min_length == 56


def test_a_maximum_of_the_file_that_the_prompt_reaches_does_not_count():
    assert ours({}, {"max_length": 10}, 9).max_length == 10
    assert ours({}, {"max_length": 10}, 10).max_length == 30
    assert ours({}, {"max_length": 10}, 60).max_length == CONTEXT_LEN
    assert ours({"max_length": 10}, {}, 12).max_length == 10


@pytest.mark.parametrize(
    ("request_fields", "file", "gone"),
    [
        ({"num_beams": 2}, {"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens"),
        ({"num_beams": 2}, {"dola_layers": "low"}, "dola_layers"),
        ({"prompt_lookup_num_tokens": 2}, {"assistant_early_exit": 1}, "assistant_early_exit"),
        ({"assistant_early_exit": 1}, {"dola_layers": "low"}, "dola_layers"),
        ({"dola_layers": "low"}, {"prompt_lookup_num_tokens": 2}, "prompt_lookup_num_tokens"),
        ({}, {"prompt_lookup_num_tokens": 2, "assistant_early_exit": 1}, "prompt_lookup_num_tokens"),
        ({}, {"prompt_lookup_num_tokens": 2, "dola_layers": "high"}, "dola_layers"),
        ({}, {"use_mtp": True}, "use_mtp"),
        ({"num_beams": 4}, {"diversity_penalty": 0.5}, "diversity_penalty"),
        ({}, {"num_beams": 4, "diversity_penalty": 0.5}, "diversity_penalty"),
        ({}, {"cache_config": {"max_cache_len": 4}}, "cache_config"),
        ({"prompt_lookup_num_tokens": 2}, {"assistant_ensemble_weight": 0.5}, "assistant_ensemble_weight"),
        ({"use_cache": False}, {"prefill_chunk_size": 4}, "prefill_chunk_size"),
    ],
)
def test_fields_of_the_file_give_way_to_what_is_asked_for(request_fields, file, gone):
    resolved = ours(request_fields, file, 5)
    assert resolved.problems() == []
    assert getattr(resolved, gone) is None
    assert GenerationConfig(**request_fields, **file).problems() != [] or gone == "use_mtp"


@pytest.mark.parametrize(
    ("request_fields", "file", "field"),
    [
        ({"do_sample": False}, {"do_sample": True, "num_return_sequences": 2}, "num_return_sequences"),
        ({"num_beams": 2}, {"num_beams": 4, "num_return_sequences": 4}, "num_return_sequences"),
        ({"prompt_lookup_num_tokens": 2}, {"do_sample": True, "num_return_sequences": 2}, "num_return_sequences"),
        ({"num_beams": 3}, {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}, "num_beam_groups"),
        ({"do_sample": True}, {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5}, "num_beam_groups"),
        (
            {"force_words_ids": [[3]]},
            {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
            "num_beam_groups",
        ),
    ],
)
def test_numbers_of_the_file_that_do_not_fit_become_one(request_fields, file, field):
    resolved = ours(request_fields, file, 5)
    assert resolved.problems() == []
    assert getattr(resolved, field) == 1
    assert getattr(ours({}, file, 5), field) == file[field]


def test_outputs_of_the_file_alone_are_returned_where_generate_returns_them():
    assert not ours({}, {"output_hidden_states": True}, 5).output_hidden_states
    both = {"output_hidden_states": True, "return_dict_in_generate": True}
    assert ours({}, both, 5).output_hidden_states
    assert ours({"output_hidden_states": True}, {}, 5).output_hidden_states


def test_what_a_request_asks_for_never_gives_way():
    for fields in ({"num_return_sequences": 2}, {"num_beams": 3, "num_beam_groups": 2}, {"diversity_penalty": 0.5}):
        resolved = ours({"num_beams": 1} | fields, {}, 5)
        assert fields.items() <= resolved.set_fields().items()


def test_a_file_without_cache_does_not_forbid_what_needs_one():
    assert ours({"prompt_lookup_num_tokens": 2}, {"use_cache": False}, 5).problems() == []
    assert ours({"penalty_alpha": 0.5, "top_k": 4}, {"use_cache": False}, 5).problems() == []
    assert ours({}, {"use_cache": False}, 5).use_cache is False


def test_a_named_draft_model_goes_before_the_drafter_of_the_file():
    file = GenerationConfig(prompt_lookup_num_tokens=3)
    resolved = merge(GenerationConfig(), file, prompt_len=1, context_len=None, assistant=GenerationConfig())
    assert resolved.problems("draft") == []
    assert merge(GenerationConfig(), file, prompt_len=1, context_len=None).prompt_lookup_num_tokens == 3


def test_a_draft_model_s_own_values_go_between_the_request_and_the_file():
    request = GenerationConfig(assistant_confidence_threshold=0.5)
    file = GenerationConfig(num_assistant_tokens=3, num_assistant_tokens_schedule="heuristic")
    drafter = GenerationConfig(num_assistant_tokens=7, assistant_confidence_threshold=0.25)
    resolved = merge(request, file, prompt_len=1, context_len=None, assistant=drafter)
    assert (resolved.num_assistant_tokens, resolved.assistant_confidence_threshold) == (7, 0.5)
    assert resolved.num_assistant_tokens_schedule == "heuristic"
    assert resolved.target_lookbehind == 10
    assert merge(request, file, prompt_len=1, context_len=None).num_assistant_tokens == 3


def test_the_arguments_stay_as_they_were():
    request, file = GenerationConfig(top_k=3), GenerationConfig(top_p=0.5)
    resolved = merge(request, file, prompt_len=1, context_len=None)
    assert (resolved.top_k, resolved.top_p) == (3, 0.5)
    assert request.set_fields() == {"top_k": 3}
    assert file.set_fields() == {"top_p": 0.5}


def test_extra_attributes_of_the_file_are_carried_over():
    file = GenerationConfig.from_dict({"language": "de"})
    assert merge(GenerationConfig(), file, prompt_len=1, context_len=None).extras == {"language": "de"}
    assert file.extras == {"language": "de"}
