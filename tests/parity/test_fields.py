"""Every processor and stopping criterion that a field switches on, alone and combined: the tokens of `generate()`."""

import random
from typing import Any

import pytest
import torch

from beamhouse.engine.link.messages import Submission
from tests.parity.models import FAMILIES, reference
from tests.parity.running import engine_of, generate, run, submission

SAMPLED: dict[str, Any] = {"do_sample": True}

ALONE: dict[str, dict[str, Any]] = {
    "sequence_bias": {"sequence_bias": [[[7], 4.0], [[9, 11], 6.0], [[13], -8.0]]},
    "repetition_penalty": {"repetition_penalty": 1.4},
    "repetition_penalty below 1": {"repetition_penalty": 0.8},
    "encoder_repetition_penalty": {"encoder_repetition_penalty": 1.5},
    "frequency_penalty": {"frequency_penalty": 1.1},
    "frequency_penalty below 0": {"frequency_penalty": -0.8},
    "presence_penalty": {"presence_penalty": 1.7},
    "both, drawn": SAMPLED | {"frequency_penalty": 0.6, "presence_penalty": -1.1, "repetition_penalty": 1.2},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 1},
    "bad_words_ids": {"bad_words_ids": [[5], [6, 7], [8, 9, 10]]},
    "min_length": {"min_length": 20},
    "min_new_tokens": {"min_new_tokens": 9},
    "forced_bos_token_id": {"forced_bos_token_id": 12},
    "forced_eos_token_id": {"forced_eos_token_id": 2},
    "forced_eos_token_id, several": {"forced_eos_token_id": [4, 2]},
    "remove_invalid_values": {"remove_invalid_values": True, "suppress_tokens": [5]},
    "exponential_decay_length_penalty": {"exponential_decay_length_penalty": [4, 1.3]},
    "suppress_tokens": {"suppress_tokens": list(range(20, 60))},
    "begin_suppress_tokens": {"begin_suppress_tokens": list(range(3, 100))},
    "renormalize_logits": {"renormalize_logits": True},
    "temperature": SAMPLED | {"temperature": 2.5, "top_k": 0},
    "temperature, low": SAMPLED | {"temperature": 0.3},
    "top_k": SAMPLED | {"top_k": 3},
    "top_p": SAMPLED | {"top_p": 0.4, "top_k": 0},
    "min_p": SAMPLED | {"min_p": 0.2, "top_k": 0},
    "top_h": SAMPLED | {"top_h": 0.4, "top_k": 0},
    "typical_p": SAMPLED | {"typical_p": 0.5, "top_k": 0},
    "epsilon_cutoff": SAMPLED | {"epsilon_cutoff": 0.02, "top_k": 0},
    "eta_cutoff": SAMPLED | {"eta_cutoff": 0.05, "top_k": 0},
    "no end token": {"eos_token_id": []},
    "no end token, whatever asks for one": {"eos_token_id": [], "min_length": 9, "forced_eos_token_id": 2},
    "several end tokens": {"eos_token_id": [2, 17, 30, 45, 61]},
    "max_length": {"max_length": 64, "max_new_tokens": None},
}

CHOICES: dict[str, list[Any]] = {
    "sequence_bias": [[[[7], 3.0], [[9, 11], 5.0]], [[[2], 2.5]]],
    "repetition_penalty": [1.2, 0.9],
    "encoder_repetition_penalty": [1.3, 0.8],
    "frequency_penalty": [0.4, 2.0],
    "presence_penalty": [0.9, -0.6],
    "no_repeat_ngram_size": [2, 3],
    "encoder_no_repeat_ngram_size": [2],
    "bad_words_ids": [[[5], [6, 7]]],
    "min_new_tokens": [5],
    "min_length": [15],
    "forced_eos_token_id": [2],
    "exponential_decay_length_penalty": [[3, 1.1]],
    "suppress_tokens": [list(range(20, 60))],
    "begin_suppress_tokens": [list(range(3, 50))],
    "remove_invalid_values": [True],
    "renormalize_logits": [True],
    "eos_token_id": [[2, 17, 30]],
}

WARPERS: dict[str, list[Any]] = {
    "temperature": [0.7, 1.6],
    "top_k": [0, 5, 40],
    "top_p": [0.6, 0.95],
    "min_p": [0.05],
    "top_h": [0.6],
    "typical_p": [0.7],
    "epsilon_cutoff": [0.01],
    "eta_cutoff": [0.02],
    "num_return_sequences": [2, 3],
}


def check_together(family: str, cases: list[dict[str, Any]]) -> None:
    """Run all cases in one engine, joining at different steps; each must be what `generate()` gives alone."""
    vocab_size = reference(family).config.vocab_size
    generator = torch.Generator().manual_seed(len(cases))
    arrivals: dict[int, list[Submission]] = {}
    expected: dict[str, Any] = {}
    for number, case in enumerate(cases):
        length = 1 + (number * 11) % 40
        prompt_ids = torch.randint(3, min(vocab_size, 90), (length,), generator=generator).tolist()
        fields = {key: value for key, value in ({"max_new_tokens": 18} | case).items() if value is not None}
        one = submission(family, prompt_ids, fields, seed=number)
        arrivals.setdefault((number * 3) % 19, []).append(one)
        expected[one.request_id] = (case, generate(family, prompt_ids, fields, number).token_ids)
    answers = run(engine_of(family), arrivals)
    for name, (case, token_ids) in expected.items():
        assert answers[name].sequences == token_ids, (case, answers[name].finished)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_field_alone(family: str) -> None:
    check_together(family, list(ALONE.values()))


@pytest.mark.parametrize("family", FAMILIES)
def test_random_combinations(family: str) -> None:
    rng = random.Random(family)
    check_together(family, [random_case(rng) for _ in range(24)])


def random_case(rng: random.Random) -> dict[str, Any]:
    is_sampled = rng.random() < 0.6
    known = CHOICES | WARPERS if is_sampled else CHOICES
    names = rng.sample(sorted(known), rng.randint(2, 6))
    return {"do_sample": is_sampled} | {name: rng.choice(known[name]) for name in names}
