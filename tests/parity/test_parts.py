"""In which parts prompts are fed, and who computed their beginnings, changes no answer."""

from functools import cache
from typing import Any

import pytest

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from tests.parity.models import served
from tests.parity.rounding import assert_same_scores
from tests.parity.running import SETTINGS, Answer, prompt, run, submission

FAMILY = "llama"
MODES: list[dict[str, Any]] = [
    {},
    {"do_sample": True, "num_return_sequences": 2},
    {"num_beams": 3, "num_return_sequences": 3},
    {"penalty_alpha": 0.6, "top_k": 3},
    {"guidance_scale": 1.7},
    {"prompt_lookup_num_tokens": 3},
]


@cache
def engine_with(step_tokens: int, max_stretch: float) -> Engine:
    settings = SETTINGS.model_copy(update={"step_tokens": step_tokens, "max_stretch": max_stretch, "max_rows": 8})
    _, engine = assemble(served(FAMILY), settings, Extensions(Registry({}, {}), {}))
    return engine


def asked(prompt_ids: list[int], fields: dict[str, Any], salt: str) -> Submission:
    config = {"max_new_tokens": 8, "do_sample": False, **fields}
    return submission(FAMILY, prompt_ids, config, seed=5, cache_salt=salt)


def answers(engine: Engine, requests: list[Submission]) -> list[Answer]:
    """Two of them run already when the others arrive together."""
    found = run(engine, {0: requests[:2], 3: requests[2:]})
    return [found[request.request_id] for request in requests]


@pytest.mark.parametrize("step_tokens", [8, 24])
def test_small_parts_and_large_ones_give_the_same(step_tokens: int) -> None:
    prompts = [prompt(seed, 70 + seed, FAMILY) for seed in range(len(MODES))]
    found = []
    for engine in (engine_with(step_tokens, 1.0), engine_with(512, 1_000_000)):
        requests = [
            asked(ids, {**fields, "output_scores": True}, f"parts {step_tokens}")
            for ids, fields in zip(prompts, MODES, strict=True)
        ]
        found.append(answers(engine, requests))
    for small, large in zip(*found, strict=True):
        assert small.sequences == large.sequences
        assert_same_scores(small.tensor("scores"), large.tensor("scores"))


def test_a_shared_beginning_gives_what_each_gets_by_itself() -> None:
    engine = engine_with(24, 1.8)
    beginning = prompt(50, 67, FAMILY)
    prompts = [beginning + prompt(seed, 3, FAMILY) for seed in range(5)]
    together = answers(engine, [asked(ids, {}, "together") for ids in prompts])
    apart = [answers(engine, [asked(ids, {}, f"apart {number}")])[0] for number, ids in enumerate(prompts)]
    assert [one.sequences for one in together] == [one.sequences for one in apart]
    cached = [answer.finished.cached_prompt_tokens for answer in together if answer.finished]
    assert all(cached[2:])
