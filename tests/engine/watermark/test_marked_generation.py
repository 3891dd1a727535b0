"""Marked generation through the whole engine: the tokens of `generate()`, and marks that are found again."""

from functools import cache
from typing import Any

import pytest
from transformers import SynthIDTextWatermarkingConfig as LibrarySynthID
from transformers import WatermarkingConfig as LibraryGreenList

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.watermark.detection import score_green_lists, score_synthid
from beamhouse.engine.watermark.profiles import Profile
from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig, WatermarkingConfig
from tests.parity.models import reference, served
from tests.parity.running import SETTINGS, alone, engine_of, generate, run, submission

LEFTHASH = LibraryGreenList(hashing_key=77, bias=2.5, context_width=2)
SELFHASH = LibraryGreenList(hashing_key=2**62 + 1, bias=3.0, seeding_scheme="selfhash", context_width=3)
SYNTHID = LibrarySynthID(ngram_len=5, keys=[654, 400, 836, 123, 340, 443, 597, 160, 57])
MARKS = {"lefthash": LEFTHASH, "selfhash": SELFHASH, "synthid": SYNTHID}
HOW: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 20},
    "sample": {"do_sample": True, "max_new_tokens": 20, "temperature": 1.2, "top_k": 40},
    "sample, all tokens": {"do_sample": True, "max_new_tokens": 20, "top_k": 0, "num_return_sequences": 2},
}
BEAMS: dict[str, Any] = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 12}
PROFILES = {
    "green": Profile(WatermarkingConfig(hashing_key=982_451_653)),
    "self": Profile(WatermarkingConfig(hashing_key=982_451_653, seeding_scheme="selfhash", context_width=2, bias=4.0)),
    "synthid": Profile(SynthIDTextWatermarkingConfig(ngram_len=4, keys=list(range(1000, 1030)))),
}
PROMPT = [5, 17, 40]


@cache
def marking_engine() -> Engine:
    """The built-in model with named watermarks."""
    _, engine = assemble(served("builtin"), SETTINGS, Extensions(Registry({}, {}), {}, watermarks=PROFILES))
    return engine


def long_text(**fields: Any) -> list[int]:
    """200 tokens of the built-in model."""
    asked = {"do_sample": True, "max_new_tokens": 200, "min_new_tokens": 200, "top_k": 0, **fields}
    return alone(marking_engine(), submission("builtin", PROMPT, asked, seed=11)).sequences[0]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("family", ["llama", "builtin"])
def test_marked_tokens_are_those_of_generate(family: str, mark: str, how: str) -> None:
    fields = HOW[how] | {"watermarking_config": MARKS[mark]}
    for seed in (1, 2):
        expected = generate(family, PROMPT, fields, seed).token_ids
        assert alone(engine_of(family), submission(family, PROMPT, fields, seed=seed)).sequences == expected


@pytest.mark.parametrize("mark", [LEFTHASH, SELFHASH], ids=["lefthash", "selfhash"])
def test_marked_beams_are_those_of_generate(mark: LibraryGreenList) -> None:
    fields = BEAMS | {"watermarking_config": mark}
    expected = generate("llama", PROMPT, fields).token_ids
    assert alone(engine_of("llama"), submission("llama", PROMPT, fields)).sequences == expected


def test_marks_do_not_touch_their_neighbours() -> None:
    cases = [how | {"watermarking_config": mark} for how in HOW.values() for mark in (*MARKS.values(), None)]
    expected = {}
    arrivals: dict[int, list[Any]] = {}
    for number, fields in enumerate(cases):
        one = submission("llama", PROMPT, fields, seed=number)
        arrivals.setdefault(number % 5, []).append(one)
        expected[one.request_id] = generate("llama", PROMPT, fields, number).token_ids
    answers = run(engine_of("llama"), arrivals)
    assert {name: answer.sequences for name, answer in answers.items()} == expected


@pytest.mark.parametrize("name", ["green", "self"])
def test_a_green_list_is_found_in_200_tokens_and_only_there(name: str) -> None:
    mark, vocab_size = PROFILES[name].mark, reference("builtin").config.vocab_size
    assert isinstance(mark, WatermarkingConfig)
    marked, plain = long_text(watermarking_config=name), long_text()
    assert score_green_lists(mark, vocab_size, marked).z_score > 4
    assert abs(score_green_lists(mark, vocab_size, plain).z_score) < 4


def test_synthid_is_found_in_200_tokens_and_only_there() -> None:
    mark = PROFILES["synthid"].mark
    assert isinstance(mark, SynthIDTextWatermarkingConfig)
    marked, plain = long_text(watermarking_config="synthid"), long_text()
    # Each mean is one of some 200 * 30 fair bits by chance: a standard deviation of 0.0065.
    assert score_synthid(mark, marked).mean > 0.5 + 6 * 0.0065
    assert abs(score_synthid(mark, plain).mean - 0.5) < 4 * 0.0065
