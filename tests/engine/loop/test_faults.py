"""What raises outside the forward pass ends requests, never the loop, and the cache stays whole after it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from beamhouse.engine.decoding.requested_outputs import Trace
from beamhouse.engine.link.messages import Named
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.loop.prefill_pace import Pace
from beamhouse.engine.loop.scheduler import Scheduler
from beamhouse.engine.loop.settling import Settler
from beamhouse.engine.state.block_cache import BlockCache, CacheFull
from beamhouse.engine.state.request import Request, Sequence
from beamhouse.schemas.generation.modes import GenerationMode
from tests.engine.loop.scripted import drain, make_engine, submit

GOOD = [2, 3, 4, 5, 6, 7, 8, 9]
"""What follows [1] in the scripted model."""


def company(engine: Engine) -> None:
    submit(engine, "good", [1], max_length=9)
    submit(engine, "bad", [7, 7, 7, 7, 7], max_length=13, do_sample=True, num_return_sequences=2)
    submit(engine, "late", [1], max_length=9, cache_salt="late")


def failing(
    monkeypatch: pytest.MonkeyPatch, kind: type, name: str, is_culprit: Callable[..., bool], error: type[Exception]
) -> None:
    """Let a method raise, after it has done its work, each time its arguments are the culprit's."""
    method = getattr(kind, name)

    def raising(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        if is_culprit(*args):
            raise error("broken")
        return result

    monkeypatch.setattr(kind, name, raising)


def is_bad(one: Request | Sequence, *_: object) -> bool:
    token_ids = one.token_ids if isinstance(one, Sequence) else one.submission.prompt_ids
    return token_ids[:5] == [7] * 5


def assert_whole(engine: Engine) -> None:
    cache = engine.cache
    assert cache.num_used == 0
    assert set(cache._references) == {0}
    assert not engine.roster.by_id
    assert not engine.roster.traces
    submit(engine, "afterwards", [1], max_length=9)
    assert drain(engine) == ({"afterwards": GOOD}, {"afterwards": None})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Settler, "settle"),
        (BlockCache, "reserve"),
        (BlockCache, "publish"),
        (BlockCache, "fork"),
        (BlockCache, "filled_by"),
        (BlockCache, "match_part"),
    ],
)
@pytest.mark.parametrize("error", [RuntimeError, CacheFull])
def test_a_fault_of_one_request_ends_it_alone(
    kind: type, name: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    failing(monkeypatch, kind, name, is_bad, error)
    company(engine)
    tokens, errors = drain(engine)
    assert errors.pop("bad", "request_failed") == "request_failed"
    assert errors == {"good": None, "late": None}
    assert (tokens["good"], tokens["late"]) == (GOOD, GOOD)
    assert_whole(engine)


def test_a_fault_of_a_trace_ends_its_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    failing(monkeypatch, Trace, "record", lambda row: True, RuntimeError)
    submit(engine, "good", [1], max_length=9)
    submit(engine, "bad", [7], output_scores=True)
    tokens, errors = drain(engine)
    assert errors == {"good": None, "bad": "request_failed"}
    assert tokens["good"] == GOOD
    assert_whole(engine)


@pytest.mark.parametrize(("kind", "name"), [(Pace, "record"), (Scheduler, "expired"), (Scheduler, "_num_rows")])
def test_a_fault_of_nobody_ends_those_that_run(kind: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    company(engine)
    engine.step()
    with monkeypatch.context() as broken:
        failing(broken, kind, name, lambda *_: True, RuntimeError)
        finished = engine.step().finished
    assert {one.request_id: one.error_code for one in finished} == dict.fromkeys(
        ("good", "bad", "late"), "batch_failed"
    )
    assert all(one.error == "the step failed: RuntimeError" for one in finished)
    drain(engine)
    assert_whole(engine)


def test_a_fault_that_stays_leaves_nobody_waiting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(max_rows=2)
    failing(monkeypatch, Scheduler, "expired", lambda *_: True, RuntimeError)
    for name in ("one", "two", "three"):
        submit(engine, name, [1], do_sample=True, num_return_sequences=2)
    assert set(drain(engine)[1].values()) == {"batch_failed"}
    assert not engine.has_work


def test_a_request_that_cannot_be_prepared_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    greedy = engine.strategies[GenerationMode.GREEDY_SEARCH]
    failing(monkeypatch, type(greedy), "prepare", is_bad, ZeroDivisionError)
    submit(engine, "bad", [7, 7, 7, 7, 7])
    submit(engine, "good", [1], max_length=9)
    finished = engine.step().finished
    assert [(one.request_id, one.error_code) for one in finished] == [("bad", "request_failed")]
    assert finished[0].error == "the request could not be taken in: ZeroDivisionError"
    assert drain(engine)[1] == {"good": None}
    assert_whole(engine)


def test_a_mode_that_cannot_let_go_of_a_request_does_not_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    greedy = engine.strategies[GenerationMode.GREEDY_SEARCH]
    failing(monkeypatch, type(greedy), "release", is_bad, RuntimeError)
    submit(engine, "good", [1], max_length=9)
    submit(engine, "bad", [7, 7, 7, 7, 7])
    submit(engine, "cancelled", [7, 7, 7, 7, 7])
    engine.step()
    engine.cancel(["cancelled"])
    assert drain(engine)[1] == {"good": None, "bad": None}
    assert_whole(engine)


def test_a_request_that_fails_while_the_step_is_planned_takes_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(num_blocks=8)
    drafting = engine.strategies[GenerationMode.ASSISTED_GENERATION]
    failing(monkeypatch, type(drafting), "propose", lambda group, _: any(map(is_bad, group)), RuntimeError)
    submit(engine, "good", [1], max_length=9)
    submit(engine, "bad", [7, 7, 7, 7, 7], prompt_lookup_num_tokens=3, priority=3)
    submit(engine, "drafted", [1, 2, 1, 2], prompt_lookup_num_tokens=3, priority=1)
    tokens, errors = drain(engine)
    assert errors == {"good": None, "bad": "request_failed", "drafted": None}
    assert (tokens["good"], tokens["drafted"]) == (GOOD, [3, 4, 5, 6])
    assert_whole(engine)


class FailsAfter:
    """A registered processor that fails behind a token."""

    def __init__(self, token: int) -> None:
        self._token = token

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if input_ids[0, -1] == self._token:
            raise ValueError("broken")
        return scores


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"do_sample": True, "top_k": 1, "num_return_sequences": 2},
        {"num_beams": 2},
        {"num_beams": 2, "do_sample": True, "top_k": 1},
        {"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 0.1},
        {"num_beams": 2, "force_words_ids": [[2]]},
        {"prompt_lookup_num_tokens": 2},
    ],
)
def test_a_registered_processor_that_fails_ends_its_request_alone_with_what_it_said(fields: dict[str, Any]) -> None:
    engine = make_engine(registry=Registry({"fails_after": FailsAfter}, {}))
    submit(engine, "good", [1, 2, 1], **fields)
    submit(engine, "bad", [1, 2, 1], logits_processor=[Named("fails_after", {"token": 2})], **fields)
    said: dict[str, str | None] = {}
    while engine.has_work:
        said |= {one.request_id: one.error for one in engine.step().finished}
    assert said == {"good": None, "bad": "logits_processor fails_after: ValueError: broken"}
    assert_whole(engine)
