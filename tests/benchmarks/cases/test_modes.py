"""What every side of a comparison of modes is asked."""

from dataclasses import replace

import pytest

from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.modes import GenerationMode, mode_of
from beamhouse.server.command.bench.modes import MODES, Mode
from benchmarks.cases.answers import Answer
from benchmarks.cases.modes import EndedEarly, check_lengths
from benchmarks.serving.plain_requests import body_of
from tests.benchmarks.cases.drawn import DRAWING, END, ONE_MODE, requests_of


def test_every_decoding_mode_of_the_contract_is_among_them():
    assert {mode.runs for mode in MODES} == set(GenerationMode)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_what_the_server_is_asked_is_the_mode_it_is_counted_as(mode: Mode):
    request = requests_of(mode.name)[0]
    body = GenerateRequest.model_validate(body_of(request))
    assert isinstance(body.generation_config, GenerationConfig)
    assert mode_of(body.generation_config, body.assistant_model) == mode.runs == body.mode
    assert body.generation_config.min_new_tokens is None


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_plain_greedy_search_is_left_when_a_mode_is_taken_off(mode: Mode):
    plain = requests_of(mode.name)[0].as_greedy()
    body = GenerateRequest.model_validate(body_of(plain))
    assert isinstance(body.generation_config, GenerationConfig)
    assert mode_of(body.generation_config, body.assistant_model) == "greedy_search"
    assert body.generation_config.model_fields_set == {"do_sample", "max_new_tokens", "eos_token_id"}
    assert plain.prompt == requests_of(mode.name)[0].prompt


def test_no_prompt_comes_twice_and_the_seed_decides_them():
    rounds = DRAWING.rounds(ONE_MODE["guidance"], 4, 3)
    prompts = [tuple(ids) for one in rounds for r in one for ids in (r.prompt, r.negative_prompt or [])]
    assert len(set(prompts)) == len(prompts) == 24
    assert rounds == DRAWING.rounds(ONE_MODE["guidance"], 4, 3)
    assert rounds != replace(DRAWING, seed=4).rounds(ONE_MODE["guidance"], 4, 3)


@pytest.mark.parametrize("token_ids", [[1, 2, 3], [1, END, 0, 0]])
def test_an_answer_that_ended_early_is_not_counted(token_ids: list[int]):
    answers = [Answer(token_ids, [0.1] * len(token_ids))]
    with pytest.raises(EndedEarly, match=r"generate\(\) ended beam_search before its 4 tokens"):
        check_lengths("generate()", requests_of("beam_search"), answers)


def test_the_end_token_may_come_last():
    check_lengths("the server", requests_of("sample"), [Answer([1, 2, 3, END], [0.1] * 4)])
