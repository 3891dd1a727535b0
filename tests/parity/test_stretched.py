"""Positions beyond the length of training, scaled in every way: each sequence by its own length, whoever is beside it.

The references answer for one call at a time. Between calls a dynamic scale keeps the longest length it has seen unless
a short call came in between, which is why there is one before each.
"""

import copy
from functools import cache
from typing import Any

import pytest
import torch
from transformers import GenerationConfig as LibraryConfig

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission, Wanted
from beamhouse.engine.loading.draft_models import Assistant
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from tests.parity.drafting import draft_model
from tests.parity.models import STRETCHED, TRAINED, reference, served
from tests.parity.plain.dola import dola
from tests.parity.plain.task import Task
from tests.parity.running import SETTINGS, Expected, alone, generate, prompt, run, submission

KERNELS = ("auto", "torch")
USUAL = ("phi3, longrope", "llama, dynamic")
FAMILIES = [pytest.param(name, marks=() if name in USUAL else pytest.mark.slow) for name in STRETCHED]
LENGTHS = (3, TRAINED - 1, TRAINED, TRAINED + 1, TRAINED + 15)
"""Prompts that stay below the length of training, come to it in their answers, end at it, and begin beyond it."""
LONGEST = 46
CASES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sample": {"do_sample": True, "top_k": 30},
    "three": {"do_sample": True, "num_return_sequences": 3, "top_k": 0},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "drawn beams": {"num_beams": 2, "do_sample": True},
    "guided": {"guidance_scale": 1.5},
}
DRAFTED: dict[str, dict[str, Any]] = {
    "looked up": {"prompt_lookup_num_tokens": 4},
    "own layers": {"assistant_early_exit": 1},
    "drafted": {"num_assistant_tokens": 5, "assistant_confidence_threshold": 0.0},
}
OTHERS: dict[str, dict[str, Any]] = {
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7},
    "constrained": {"num_beams": 3, "force_words_ids": [[33, 44]]},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "contrastive, guided": {"penalty_alpha": 0.4, "top_k": 3, "guidance_scale": 1.5},
    "dola": {"dola_layers": [1]},
    "drafted, sampled": DRAFTED["drafted"] | {"do_sample": True},
    "drafted, guided": DRAFTED["drafted"] | {"guidance_scale": 1.5},
    "drafted beyond": DRAFTED["drafted"] | {"num_assistant_tokens": 20},
}


def new_engine(family: str, **settings: Any) -> Engine:
    assistants = {"draft": Assistant(copy.deepcopy(draft_model(family)))}
    changed = SETTINGS.model_copy(update=settings)
    runner, engine = assemble(served(family), changed, Extensions(Registry({}, {}), {}, assistants=assistants))
    runner.check()
    return engine


@cache
def engine_of(family: str, kernels: str) -> Engine:
    """One engine for all tests: what they leave in its cache must not matter."""
    return new_engine(family, kernels=kernels)


def lengths(prompt_ids: list[int]) -> dict[str, int]:
    num_new = LONGEST - len(prompt_ids)
    return {"max_new_tokens": num_new, "min_new_tokens": num_new}


def asked(family: str, prompt_ids: list[int], fields: dict[str, Any], seed: int = 0) -> Submission:
    named = {"assistant_model": "draft"} if "num_assistant_tokens" in fields else {}
    return submission(family, prompt_ids, lengths(prompt_ids) | fields, seed=seed, **named)


def expected_of(family: str, prompt_ids: list[int], fields: dict[str, Any], seed: int = 0) -> Expected:
    with torch.inference_mode():
        reference(family)(torch.tensor([[3]]))
    return generate(family, prompt_ids, lengths(prompt_ids) | fields, seed)


@cache
def cases(family: str) -> list[tuple[list[int], dict[str, Any], list[list[int]]]]:
    """Prompts of every length in every mode that the library has, and its answers."""
    found = []
    for number, length in enumerate(LENGTHS):
        for place, fields in enumerate(CASES.values()):
            if "guidance_scale" in fields and "dynamic" in family:
                # The library turns the shorter of the two sequences by the length of the longer one.
                continue
            prompt_ids = prompt(number, length, family)
            found.append((prompt_ids, fields, expected_of(family, prompt_ids, fields, seed=place).token_ids))
    return found


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_requests_of_all_lengths_and_modes_together_equal_generate(family: str, kernels: str) -> None:
    arrivals: dict[int, list[Submission]] = {}
    expected = {}
    for number, (prompt_ids, fields, answer) in enumerate(cases(family)):
        one = asked(family, prompt_ids, fields, seed=list(CASES.values()).index(fields))
        arrivals.setdefault((number * 5) % 23, []).append(one)
        expected[one.request_id] = answer
    answers = run(engine_of(family, kernels), arrivals)
    assert {name: answer.sequences for name, answer in answers.items()} == expected


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_in_parts_beside_others_equals_generate(family: str, kernels: str) -> None:
    engine = new_engine(family, kernels=kernels, step_tokens=16, max_rows=8)
    prompts = [prompt(10 + length, length, family) for length in (42, 9, 31, 23)]
    submissions = [asked(family, prompt_ids, {}) for prompt_ids in prompts]
    answers = run(engine, {3 * number: [one] for number, one in enumerate(submissions)})
    found = [answers[one.request_id].sequences for one in submissions]
    assert found == [expected_of(family, prompt_ids, {}).token_ids for prompt_ids in prompts]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_cached_of_another_length_is_not_taken_where_it_was_turned_otherwise(family: str, kernels: str) -> None:
    engine, whole = new_engine(family, kernels=kernels), prompt(4, 43, family)
    for length in (20, 35, 43, 35, 24, 20, 43):
        prompt_ids = whole[:length]
        assert alone(engine, asked(family, prompt_ids, {})).sequences == expected_of(family, prompt_ids, {}).token_ids


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("mode", DRAFTED)
@pytest.mark.parametrize("family", FAMILIES)
def test_drafts_change_no_token(family: str, mode: str, kernels: str) -> None:
    prompts = [prompt(20 + length, length, family) for length in LENGTHS]
    submissions = [asked(family, prompt_ids, DRAFTED[mode]) for prompt_ids in prompts]
    answers = run(engine_of(family, kernels), {number: [one] for number, one in enumerate(submissions)})
    found = [answers[one.request_id].sequences for one in submissions]
    assert found == [expected_of(family, prompt_ids, {}).token_ids for prompt_ids in prompts]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("family", USUAL)
def test_every_mode_gives_in_company_and_when_blocks_run_out_what_it_gives_alone(family: str, kernels: str) -> None:
    prompts = {mode: prompt(40 + number, TRAINED - 6, family) for number, mode in enumerate(OTHERS)}
    expected = {
        mode: alone(engine_of(family, kernels), asked(family, prompt_ids, OTHERS[mode])).sequences
        for mode, prompt_ids in prompts.items()
    }
    tight = new_engine(family, kernels=kernels, cache_tokens=30 * 16, step_tokens=40, max_rows=16)
    submissions = {mode: asked(family, prompt_ids, OTHERS[mode]) for mode, prompt_ids in prompts.items()}
    beside = [asked(family, prompt(60 + length, length, family), {}) for length in (43, 5)]
    arrivals = {2 * number: [one] for number, one in enumerate(submissions.values())}
    answers = run(tight, arrivals | {1: beside[:1], 5: beside[1:]})
    assert {mode: answers[one.request_id].sequences for mode, one in submissions.items()} == expected


@pytest.mark.parametrize("kernels", KERNELS)
def test_dola_is_computed_anew_at_the_switch(kernels: str) -> None:
    family, prompt_ids = "phi3, longrope", prompt(7, TRAINED - 6, "phi3, longrope")
    answer = alone(engine_of(family, kernels), asked(family, prompt_ids, OTHERS["dola"]))
    (found,) = dola(Task(family, prompt_ids, lengths(prompt_ids), LONGEST - len(prompt_ids)), [1])
    assert answer.sequences == [found.token_ids]


@pytest.mark.parametrize("length", [7, TRAINED, TRAINED + 9])
@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_and_attentions_are_those_of_the_calls_that_gave_the_tokens(family: str, length: int) -> None:
    prompt_ids = prompt(80 + length, length, family)
    fields = {"output_hidden_states": True, "output_attentions": True}
    answer = alone(engine_of(family, "auto"), asked(family, prompt_ids, fields))
    model = copy.deepcopy(reference(family))
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        model(torch.tensor([[3]]))
        expected = model.generate(
            torch.tensor([prompt_ids]),
            generation_config=LibraryConfig(**lengths(prompt_ids), **fields, return_dict_in_generate=True),
        )
    for step in range(LONGEST - length):
        rows = length if step == 0 else 1  # where it computes all anew, the library shows all again
        for name, of_layers in (("hidden_states", expected.hidden_states), ("attentions", expected.attentions)):
            for layer, tensor in enumerate(of_layers[step]):
                actual = answer.tensor(f"{name}.{step}.{layer}")
                num_columns = tensor.shape[-1]  # behind a window the library keeps no keys to show
                assert name == "attentions" or actual.shape[-1] == num_columns
                torch.testing.assert_close(actual[..., -num_columns:], tensor[..., -rows:, :], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_prompt_logprobs_are_those_of_one_call(family: str, kernels: str) -> None:
    engine = new_engine(family, kernels=kernels, step_tokens=16, max_rows=8)
    prompts = [prompt(90 + length, length, family) for length in (TRAINED - 3, 42)]
    wanted = Wanted(prompt_logprobs=True)
    submissions = [submission(family, one, lengths(one), wanted=wanted) for one in prompts]
    answers = run(engine, {0: submissions})
    for prompt_ids, one in zip(prompts, submissions, strict=True):
        with torch.inference_mode():
            reference(family)(torch.tensor([[3]]))
            rows = reference(family)(torch.tensor([prompt_ids])).logits[0].log_softmax(-1)
        expected = [float(rows[place, token]) for place, token in enumerate(prompt_ids[1:])]
        finished = answers[one.request_id].finished
        assert finished is not None
        assert finished.prompt_logprobs[1:] == pytest.approx(expected, abs=2e-4)
