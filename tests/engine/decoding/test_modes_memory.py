"""Whatever mix of modes ends, is cancelled or fails: all blocks come back."""

from typing import Any

import hypothesis.strategies as st
import torch
from hypothesis import HealthCheck, given, settings

from beamhouse.engine.link.messages import Submission
from beamhouse.engine.loop.engine import Engine
from tests.configs import running
from tests.engine.loop.scripted import VOCAB_SIZE, make_engine

MODES: list[dict[str, Any]] = [
    {},
    {"do_sample": True, "num_return_sequences": 3},
    {"num_beams": 4, "num_return_sequences": 2},
    {"num_beams": 3, "do_sample": True, "early_stopping": True},
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
    {"num_beams": 3, "force_words_ids": [[4, 5], [[6], [7, 8]]]},
    {"guidance_scale": 2.0},
    {"num_beams": 2, "guidance_scale": 2.0},
    {"prompt_lookup_num_tokens": 3},
    {"prompt_lookup_num_tokens": 2, "do_sample": True, "guidance_scale": 1.5},
]


def restless(token_ids: list[int]) -> torch.Tensor:
    """Logits that depend on all tokens; after token 9 a row is broken."""
    if token_ids[-1] == 9:
        return torch.full((VOCAB_SIZE,), torch.nan)
    generator = torch.Generator().manual_seed(hash(tuple(token_ids)) % 2**31)
    return torch.randn(VOCAB_SIZE, generator=generator) * 2


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Submissions, steps and cancellations in any order."""
    plan: list[tuple[str, Any]] = []
    for number in range(draw(st.integers(1, 8))):
        prompt_ids = draw(st.lists(st.integers(1, 8), min_size=1, max_size=20))
        fields = draw(st.sampled_from(MODES)) | {
            "max_length": len(prompt_ids) + draw(st.integers(1, 14)),
            "eos_token_id": draw(st.sampled_from([0, [0, 3]])),
        }
        plan.append(("submit", Submission(f"r{number}", prompt_ids, running(fields), seed=number)))
        plan.extend([("step", None)] * draw(st.integers(0, 4)))
        if draw(st.booleans()):
            plan.append(("cancel", f"r{draw(st.integers(0, number))}"))
    return plan


def follow(engine: Engine, plan: list[tuple[str, Any]]) -> list[str]:
    """The requests that ended, in order."""
    ended: list[str] = []
    for what, subject in [*plan, *[("step", None)] * 400]:
        if what == "submit":
            engine.submit(subject)
        elif what == "cancel":
            engine.cancel([subject])
        else:
            ended += [finished.request_id for finished in engine.step().finished]
    return ended


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(plans(), st.sampled_from([24, 40, 64]), st.sampled_from([8, 24]))
def test_every_block_comes_back(plan: list[tuple[str, Any]], num_blocks: int, step_tokens: int) -> None:
    engine = make_engine(restless, num_blocks=num_blocks, max_rows=8, step_tokens=step_tokens)
    ended = follow(engine, plan)
    cancelled = {subject for what, subject in plan if what == "cancel"}
    submitted = {subject.request_id for what, subject in plan if what == "submit"}
    assert not engine.has_work
    assert submitted - cancelled <= set(ended)
    assert len(ended) == len(set(ended))
    cache = engine.cache
    assert cache.num_used == 0
    assert set(cache._references) == {0}
