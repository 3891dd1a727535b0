"""Assisted decoding written out plainly: the tokens, scores and accepted drafts of the engine and of `generate()`."""

import pytest
import torch

from tests.parity.drafting import (
    BASES,
    DRAFTERS,
    asks_for_a_model,
    assisted,
    assisted_engine,
    draft_model,
    generate_assisted,
    repeating,
)
from tests.parity.plain import assisted as plain
from tests.parity.plain.task import Found, Task
from tests.parity.rounding import assert_close
from tests.parity.running import alone, prompt

NUM_NEW = 24
CASES = [
    (family, drafter, base)
    for family in ("llama", "gpt2", "gemma3")
    for drafter in DRAFTERS
    for base in BASES
    # A mix of both models' distributions is not written out; the library runs all layers of GPT-2 for an early exit.
    if drafter != "ensemble" and (family, drafter) != ("gpt2", "early exit")
]


def found_by(family: str, prompt_ids: list[int], drafter: str, base: str, seed: int) -> Found:
    task = Task(family, prompt_ids, DRAFTERS[drafter] | BASES[base], NUM_NEW)
    # The draft model is the first layer of the model, where an early exit leaves it too.
    is_lookup = "prompt_lookup_num_tokens" in task.fields
    drafts = plain.by_lookup(task) if is_lookup else plain.by_model(task, draft_model(family))
    return plain.assisted(task, drafts, seed)


@pytest.mark.parametrize(("family", "drafter", "base"), CASES)
def test_plain_drafts_lead_to_what_the_engine_and_generate_answer(family: str, drafter: str, base: str) -> None:
    fields = DRAFTERS[drafter] | BASES[base] | {"max_new_tokens": NUM_NEW}
    for seed, prompt_ids in ((1, prompt(1, 1, family)), (2, repeating(2, family)), (3, prompt(3, 60, family))):
        found = found_by(family, prompt_ids, drafter, base, seed)
        expected, _ = generate_assisted(family, prompt_ids, fields, seed, with_model=asks_for_a_model(fields))
        assert found.token_ids == expected
        asked = assisted(family, prompt_ids, fields | {"output_scores": True}, seed=seed)
        answer = alone(assisted_engine(family), asked)
        assert answer.sequences == [found.token_ids]
        assert_close(answer.tensor("scores")[:, 0], torch.stack(found.scores))
        assert answer.finished is not None
        assert (answer.finished.drafted_tokens, answer.finished.accepted_tokens) == (
            found.num_drafted,
            found.num_accepted,
        )


def test_rejection_leaves_the_distribution_of_the_model_itself() -> None:
    """Of many draws from another distribution, that stay or are replaced."""
    p, q = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]), torch.tensor([[0.1, 0.1, 0.8]])
    generator, count = torch.Generator().manual_seed(0), torch.zeros(3)
    for _ in range(4000):
        drafted = torch.multinomial(q, 1, generator=generator)[0].tolist()
        count[plain.rejection_sampled(drafted, q, p, generator)[0]] += 1
    assert torch.allclose(count / count.sum(), p[0], atol=0.03)
