"""Holds the engine against modes that are written out plainly: one request, and a crowd that is too much for it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from tests.parity.models import served
from tests.parity.plain.task import Found
from tests.parity.rounding import assert_close
from tests.parity.running import SETTINGS, Answer, generate, prompt, run, submission

NUM_NEW = 12
NEGATIVE = [7, 11, 13]
OTHERS: list[dict[str, Any]] = [{}, {"do_sample": True, "num_return_sequences": 3}, {"repetition_penalty": 1.3}]
"""What comes between, in modes that the library has."""

Plain = Callable[[str, list[int], dict[str, Any], int], list[Found]]
"""What a family's model answers plainly to a prompt, fields and a seed."""


def asked(family: str, prompt_ids: list[int], fields: dict[str, Any], seed: int = 0, **outside: Any) -> Submission:
    if "guidance_scale" in fields:
        outside["negative_prompt_ids"] = NEGATIVE
    return submission(family, prompt_ids, fields | {"max_new_tokens": NUM_NEW}, seed=seed, **outside)


def small_engine(family: str, **limits: Any) -> Engine:
    """How many tokens of prompts share its steps depends on no clock."""
    settings = SETTINGS.model_copy(update={"max_stretch": 1_000_000} | limits)
    return assemble(served(family), settings, Extensions(Registry({}, {}), {}))[1]


def assert_same(answer: Answer, expected: list[Found]) -> None:
    assert answer.sequences == [found.token_ids for found in expected]
    for index, found in enumerate(expected):
        assert_close(answer.tensor("scores")[: len(found.scores), index], torch.stack(found.scores))
        assert_close(answer.tensor("logits")[: len(found.logits), index], torch.stack(found.logits))


def assert_crowd_gets_the_same(family: str, engine: Engine, cases: Mapping[str, dict[str, Any]], plain: Plain) -> None:
    """Requests join and leave, long prompts are cut, and some requests give up their blocks for a while."""
    arrivals: dict[int, list[Submission]] = {}
    expected: dict[str, list[list[int]]] = {}
    for number in range(18):
        prompt_ids = prompt(60 + number, 1 + (number * 11) % 40, family)
        if number % 3:
            fields = list(cases.values())[number % len(cases)]
            found = [one.token_ids for one in plain(family, prompt_ids, fields, number)]
        else:
            fields = OTHERS[number // 3 % len(OTHERS)]
            found = generate(family, prompt_ids, fields | {"max_new_tokens": NUM_NEW}, number).token_ids
        one = asked(family, prompt_ids, fields, number)
        expected[one.request_id] = found
        arrivals.setdefault((number * 5) % 7, []).append(one)
    answers = run(engine, arrivals)
    assert {name: answer.sequences for name, answer in answers.items()} == expected
    assert engine.scheduler.num_preemptions
    assert engine.cache.num_used == 0
