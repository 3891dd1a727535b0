"""Greedy search and sampling on every architecture: the tokens and scores of `generate()`, alone and in company."""

from typing import Any

import pytest
import torch

from beamhouse.engine.link.messages import Wanted
from tests.parity.models import FAMILIES, reference
from tests.parity.rounding import assert_close, assert_same_scores
from tests.parity.running import alone, engine_of, generate, prompt, run, submission

CASES: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 24},
    "greedy, no end token": {"max_new_tokens": 40, "eos_token_id": 3},
    "sample": {"do_sample": True, "max_new_tokens": 24},
    "sample, all warpers": {
        "do_sample": True, "max_new_tokens": 24, "temperature": 1.3, "top_k": 30, "top_p": 0.9, "min_p": 0.01,
    },
    "sample, three sequences": {"do_sample": True, "max_new_tokens": 24, "num_return_sequences": 3, "top_k": 0},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_alone_equals_generate(family: str, case: str) -> None:
    for seed, length in ((1, 1), (2, 5), (3, 37), (4, 130)):
        prompt_ids = prompt(seed, length, family)
        expected = generate(family, prompt_ids, CASES[case], seed)
        fields = CASES[case] | {"output_scores": True}
        answer = alone(engine_of(family), submission(family, prompt_ids, fields, seed=seed))
        assert answer.sequences == expected.token_ids
        assert_same_scores(answer.tensor("scores"), expected.scores)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_company_that_comes_and_goes_equals_generate(family: str) -> None:
    engine = engine_of(family)
    arrivals: dict[int, list[Any]] = {}
    expected = {}
    for number in range(32):
        case = list(CASES.values())[number % len(CASES)] | {"max_new_tokens": 4 + number % 17}
        prompt_ids = prompt(100 + number, 1 + (number * 7) % 60, family)
        one = submission(family, prompt_ids, case, seed=number)
        arrivals.setdefault((number * 5) % 23, []).append(one)
        expected[one.request_id] = generate(family, prompt_ids, case, number).token_ids
    answers = run(engine, arrivals)
    assert {name: answer.sequences for name, answer in answers.items()} == expected


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("is_normalized", [True, False])
def test_transition_scores_equal_the_library(family: str, is_normalized: bool) -> None:
    fields = {"do_sample": True, "max_new_tokens": 12, "top_k": 20, "num_return_sequences": 2}
    prompt_ids = prompt(7, 9, family)
    expected = generate(family, prompt_ids, fields, 5)
    sequences = torch.full((2, 12), 0)
    for row, token_ids in enumerate(expected.token_ids):
        sequences[row, : len(token_ids)] = torch.tensor(token_ids)
    reference_scores = reference(family).compute_transition_scores(
        sequences, tuple(expected.scores), normalize_logits=is_normalized
    )
    wanted = Wanted(transition_scores=True, normalize_logits=is_normalized)
    answer = alone(engine_of(family), submission(family, prompt_ids, fields, seed=5, wanted=wanted))
    for index, scores in answer.scores.items():
        assert_close(torch.tensor(scores), reference_scores[index, : len(scores)])
