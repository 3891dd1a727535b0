"""Classifier-free guidance: the tokens and scores of `generate()` where it has it, and of the definition elsewhere."""

from typing import Any

import pytest
import torch

from beamhouse.engine.link.messages import Submission, Wanted
from tests.parity.drafting import make_engine
from tests.parity.models import FAMILIES, reference
from tests.parity.rounding import assert_same_scores
from tests.parity.running import Answer, alone, engine_of, prompt, run, submission

NUM_NEW = 12
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"guidance_scale": 1.5},
    "greedy, less than nothing": {"guidance_scale": 0.0},
    "greedy, with processors": {"guidance_scale": 3.0, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "sampled": {"guidance_scale": 1.7, "do_sample": True, "top_k": 20, "temperature": 1.2},
}


def expected_of(family: str, prompt_ids: list[int], negative: list[int] | None, case: str, seed: int) -> Any:
    torch.manual_seed(seed)
    inputs = torch.tensor([prompt_ids])
    asked = {} if negative is None else {"negative_prompt_ids": torch.tensor([negative])}
    with torch.inference_mode():
        return reference(family).generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=NUM_NEW,
            output_scores=True,
            return_dict_in_generate=True,
            **CASES[case],
            **asked,
        )


def guided(
    family: str, prompt_ids: list[int], negative: list[int] | None, fields: dict[str, Any], seed: int = 0
) -> Submission:
    fields = fields | {"max_new_tokens": NUM_NEW, "output_scores": True}
    wanted = Wanted(transition_scores=True)
    return submission(family, prompt_ids, fields, seed=seed, negative_prompt_ids=negative, wanted=wanted)


def assert_same(answer: Answer, out: Any, num_prompt: int) -> None:
    (tokens,) = answer.sequences
    assert tokens == out.sequences[0, num_prompt : num_prompt + len(tokens)].tolist()
    assert_same_scores(answer.tensor("scores"), torch.stack(out.scores))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_equals_generate(family: str, case: str) -> None:
    for seed, length, num_negative in ((1, 1, None), (2, 6, 3), (3, 30, 17)):
        prompt_ids = prompt(seed, length, family)
        negative = None if num_negative is None else prompt(seed + 10, num_negative, family)
        answer = alone(engine_of(family), guided(family, prompt_ids, negative, CASES[case], seed))
        assert_same(answer, expected_of(family, prompt_ids, negative, case, seed), length)


def test_in_company_equals_generate() -> None:
    arrivals: dict[int, list[Submission]] = {}
    expected = {}
    for number in range(16):
        case = list(CASES)[number % len(CASES)]
        prompt_ids, negative = prompt(number, 1 + number * 3, "llama"), prompt(number + 99, 1 + number % 5, "llama")
        one = guided("llama", prompt_ids, negative, CASES[case], number)
        arrivals.setdefault(number % 7, []).append(one)
        expected[one.request_id] = expected_of("llama", prompt_ids, negative, case, number), len(prompt_ids)
    for name, answer in run(engine_of("llama"), arrivals).items():
        assert_same(answer, *expected[name])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_masked_positions_before_a_negative_prompt_count_as_in_the_library(family: str) -> None:
    prompt_ids, negative = prompt(1, 9, family), prompt(2, 4, family)
    inputs = torch.tensor([prompt_ids])
    with torch.inference_mode():
        out = reference(family).generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            negative_prompt_ids=torch.tensor([[0, 0, 0, *negative]]),
            negative_prompt_attention_mask=torch.tensor([[0, 0, 0, 1, 1, 1, 1]]),
            guidance_scale=2.0,
            max_new_tokens=NUM_NEW,
            output_scores=True,
            return_dict_in_generate=True,
        )
    fields = {"guidance_scale": 2.0, "max_new_tokens": NUM_NEW, "output_scores": True}
    one = submission(family, prompt_ids, fields, negative_prompt_ids=negative, num_negative_masked=3)
    assert_same(alone(engine_of(family), one), out, len(prompt_ids))


def log_probs(family: str, token_ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return reference(family)(torch.tensor([token_ids])).logits[0, -1].float().log_softmax(-1)


@pytest.mark.parametrize("fields", [
    {"num_beams": 3, "num_return_sequences": 3},
    {"num_beams": 3, "do_sample": True, "num_return_sequences": 2},
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5, "num_return_sequences": 4},
    {"num_beams": 3, "force_words_ids": [[33, 44]]},
])  # fmt: skip
def test_beams_are_guided_as_each_of_them_alone_would_be(fields: dict[str, Any]) -> None:
    """The library cannot guide beams: each score is held to the definition, worked out from its own tokens."""
    prompt_ids, negative, scale = prompt(3, 7, "llama"), prompt(4, 5, "llama"), 1.6
    fields = fields | {"guidance_scale": scale, "diversity_penalty": 0.5 if "num_beam_groups" in fields else None}
    one = guided("llama", prompt_ids, negative, {name: value for name, value in fields.items() if value is not None})
    answer = alone(engine_of("llama"), one)
    for index, tokens in enumerate(answer.sequences):
        for place, token in enumerate(tokens):
            after = log_probs("llama", prompt_ids + tokens[:place])
            away = log_probs("llama", negative + tokens[:place])
            expected = float((away + scale * (after - away))[token])
            actual = answer.rankings[index].scores[place]
            assert actual is not None
            penalties = [0.0] if "num_beam_groups" not in fields else [0.0, 0.5, 1.0]
            assert any(actual == pytest.approx(expected - one, rel=1e-4, abs=1e-4) for one in penalties)


def test_what_was_cached_of_a_negative_prompt_does_not_count_as_prompt() -> None:
    engine = make_engine("llama", block_size=8)
    fields = {"guidance_scale": 1.5, "max_new_tokens": 2, "num_return_sequences": 3, "do_sample": True}
    for num_cached in (0, 16):
        one = submission("llama", prompt(1, 20, "llama"), fields, negative_prompt_ids=prompt(2, 96, "llama"))
        answer = alone(engine, one)
        assert answer.finished is not None
        assert answer.finished.cached_prompt_tokens == num_cached
