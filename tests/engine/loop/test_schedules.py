"""Random schedules: priorities, drafts, beams, shadows, salts and tiny caches together change no answer."""

from random import Random
from typing import Any

import pytest
import torch

from beamhouse.engine.link.messages import Finished, Submission, Wanted
from beamhouse.engine.loop.engine import Engine
from tests.configs import running
from tests.engine.loop.scripted import VOCAB_SIZE, make_engine

BLOCK = 4


def winding(token_ids: list[int]) -> torch.Tensor:
    """Follows from the last two tokens, so that what was found by looking up is confirmed now and then."""
    before, last = [0, *token_ids][-2:]
    best = (3 * last + before + 1) % VOCAB_SIZE
    return -((torch.arange(VOCAB_SIZE) - best) % VOCAB_SIZE).float()


NARROW: list[dict[str, Any]] = [{}, {"prompt_lookup_num_tokens": 16}, {"prompt_lookup_num_tokens": 5}]
GUIDED: list[dict[str, Any]] = [{"guidance_scale": 2.0}, {"prompt_lookup_num_tokens": 4, "guidance_scale": 1.5}]
WIDE: list[dict[str, Any]] = [
    {"do_sample": True, "num_return_sequences": 3},
    {"num_beams": 3, "num_return_sequences": 2},
]
CROWDS = [(NARROW, 12), ([*NARROW, *GUIDED], 20), ([*NARROW, *WIDE], 36), ([*NARROW, *GUIDED, *WIDE], 36)]
"""What is asked for, and the blocks that any one of these may come to need alone."""


def some(random: Random, least: int, most: int) -> list[int]:
    return [random.randrange(VOCAB_SIZE) for _ in range(random.randint(least, most))]


def a_request(random: Random, number: int, modes: list[dict[str, Any]], beginnings: list[list[int]]) -> Submission:
    prompt_ids = random.choice(beginnings)[: random.randint(1, 24)] + some(random, 0, 2)
    fields = random.choice(modes) | {"max_length": len(prompt_ids) + random.randint(4, 22)}
    is_guided = "guidance_scale" in fields and random.random() < 0.5
    return Submission(
        f"r{number}",
        prompt_ids,
        running(fields),
        seed=number,
        priority=random.choice([0, 5] if "prompt_lookup_num_tokens" in fields else [0, 0, 0, 2, 5]),
        cache_salt=random.choice(["", "", "a"]),
        wanted=Wanted(prompt_logprobs=random.random() < 0.1),
        negative_prompt_ids=some(random, 1, 9) if is_guided else None,
    )


def play(
    engine: Engine, arrivals: dict[int, list[Submission]], cancels: dict[int, list[str]]
) -> tuple[dict[str, dict[int, list[int]]], dict[str, Finished]]:
    """The tokens of every sequence of every request, and how each ended."""
    tokens: dict[str, dict[int, list[int]]] = {}
    finished: dict[str, Finished] = {}
    step = 0
    while engine.has_work or step <= max(arrivals):
        for one in arrivals.get(step, []):
            engine.submit(one)
        engine.cancel(cancels.get(step, []))
        outputs = engine.step()
        for request in outputs.requests:
            for gained in request.tokens:
                tokens.setdefault(request.request_id, {}).setdefault(gained.sequence, []).extend(gained.token_ids)
        for end in outputs.finished:
            assert end.request_id not in finished
            finished[end.request_id] = end
        step += 1
        assert step < 5000
    return tokens, finished


@pytest.fixture(scope="module")
def roomy() -> Engine:
    return make_engine(winding)


@pytest.mark.parametrize("seed", range(30))
def test_a_crowd_in_a_tiny_cache_answers_as_each_alone(seed: int, roomy: Engine) -> None:
    random = Random(seed)
    beginnings = [some(random, 24, 24), some(random, 2, 3) * 12, some(random, 3, 3) * 8]
    modes, least_blocks = random.choice(CROWDS)
    limits = {"max_rows": random.choice([4, 6, 8]), "step_tokens": random.choice([17, 25, 60])}
    engine = make_engine(winding, num_blocks=least_blocks + random.choice([0, 2, 4, 7]), **limits)
    arrivals: dict[int, list[Submission]] = {}
    cancels: dict[int, list[str]] = {}
    asked = [a_request(random, number, modes, beginnings) for number in range(16)]
    for one in asked:
        at = random.randrange(20)
        arrivals.setdefault(at, []).append(one)
        if random.random() < 0.15:
            cancels.setdefault(at + random.randrange(8), []).append(one.request_id)
    tokens, finished = play(engine, arrivals, cancels)
    cancelled = {name for names in cancels.values() for name in names}
    assert {one.request_id for one in asked} - finished.keys() <= cancelled
    assert {end.error for end in finished.values()} == {None}
    for one in asked:
        if one.request_id in finished:
            assert tokens[one.request_id] == play(roomy, {0: [one]}, {})[0][one.request_id]
    assert engine.cache.num_used == 0


def test_a_draft_takes_no_blocks_from_who_stands_in_the_step(roomy: Engine) -> None:
    low = Submission("low", [5, 1, 7], running({"max_length": 24}))
    high = Submission("high", [4, 6] * 8, running({"max_length": 40, "prompt_lookup_num_tokens": 20}), priority=5)
    expected = [play(roomy, {0: [one]}, {})[0][one.request_id] for one in (low, high)]
    for num_blocks in range(10, 15):
        for when in range(1, 16):
            engine = make_engine(winding, num_blocks=num_blocks)
            tokens, finished = play(engine, {0: [low], when: [high]}, {})
            assert [tokens["low"], tokens["high"]] == expected
            assert {end.error for end in finished.values()} == {None}
            assert engine.cache.num_used == 0
