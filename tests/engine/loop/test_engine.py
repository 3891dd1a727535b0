"""The step loop: who shares a step, what faults end, what is freed."""

from collections.abc import Sequence as Seq
from typing import Any

import pytest
import torch

from beamhouse.engine.decoding.beam_search import BeamSearch
from beamhouse.engine.decoding.strategy import Step
from beamhouse.engine.link.messages import Constraint, Named, Wanted
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.loop.slow_steps import Watch
from beamhouse.engine.state.batch import Advance
from beamhouse.engine.state.request import Request
from beamhouse.schemas.generation.modes import GenerationMode
from tests.engine.loop.scripted import VOCAB_SIZE, drain, make_engine, next_number, submit


def used_blocks(engine: Engine) -> int:
    return engine.step().load.used_blocks


def test_all_modes_share_each_step() -> None:
    engine = make_engine()
    submit(engine, "greedy", [1, 2])
    submit(engine, "sample", [3], do_sample=True, num_return_sequences=3, seed=1)
    assert engine.step().load.batch_rows == 2
    assert engine.step().load.batch_rows == 4


def test_tokens_come_in_the_step_that_chose_them() -> None:
    engine = make_engine()
    submit(engine, "a", [1, 2])
    assert [engine.step().requests[0].tokens[0].token_ids for _ in range(4)] == [[3], [4], [5], [6]]


def test_the_end_token_ends_a_sequence_and_is_named() -> None:
    engine = make_engine()
    submit(engine, "a", [1], eos_token_id=[9, 3])
    outputs = [engine.step() for _ in range(2)]
    reason = outputs[1].requests[0].tokens[0].finish_reason
    assert reason is not None
    assert (reason.type, reason.token_id) == ("eos_token", 3)
    assert outputs[1].finished[0].error_code is None


def test_a_row_of_nan_fails_its_request_alone() -> None:
    def script(token_ids: list[int]) -> torch.Tensor:
        return torch.full((VOCAB_SIZE,), torch.nan) if token_ids[0] == 7 else next_number(token_ids)

    for sampled in (False, True):
        engine = make_engine(script)
        submit(engine, "good", [1], do_sample=sampled, seed=1, top_k=1)
        submit(engine, "bad", [7], do_sample=sampled, seed=1, top_k=1)
        tokens, errors = drain(engine)
        assert tokens == {"good": [2, 3, 4, 5]}
        assert errors == {"good": None, "bad": "request_failed"}
        assert used_blocks(engine) == 0


def test_a_failing_custom_processor_fails_its_request_alone() -> None:
    class Broken:
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError

    engine = make_engine(registry=Registry({"broken": Broken}, {}))
    submit(engine, "good", [1])
    submit(engine, "bad", [1], logits_processor=[Named("broken")])
    tokens, errors = drain(engine)
    assert tokens["good"] == [2, 3, 4, 5]
    assert errors == {"good": None, "bad": "request_failed"}


def test_a_constraint_without_a_way_on_fails_its_request_alone() -> None:
    engine = make_engine()
    submit(engine, "good", [1])
    # The forced token leads out of what is allowed, and there is no end token to end it with.
    submit(engine, "bad", [1], forced_bos_token_id=6, constraint=Constraint(sequences=[[4, 5]]))
    tokens, errors = drain(engine)
    assert (tokens["good"], tokens["bad"]) == ([2, 3, 4, 5], [6])
    assert errors == {"good": None, "bad": "request_failed"}


def test_a_failing_forward_pass_ends_the_running_batch_and_the_loop_goes_on() -> None:
    def script(token_ids: list[int]) -> torch.Tensor:
        if token_ids == [7]:
            raise RuntimeError("out of memory")
        return next_number(token_ids)

    engine = make_engine(script)
    submit(engine, "running", [1])
    engine.step()
    submit(engine, "culprit", [7])
    _, errors = drain(engine)
    assert errors == {"running": "batch_failed", "culprit": "batch_failed"}
    submit(engine, "later", [1])
    tokens, _ = drain(engine)
    assert tokens["later"] == [2, 3, 4, 5]
    assert used_blocks(engine) == 0


def test_tokens_nobody_reads_as_they_come_are_told_with_the_last() -> None:
    engine = make_engine()
    submit(engine, "read", [1, 2])
    submit(engine, "collected", [1, 2], is_streamed=False)
    told = []
    while engine.has_work:
        gained = [one.tokens for one in engine.step().requests if one.request_id == "collected"]
        told.append([tokens.token_ids for step in gained for tokens in step])
    assert told == [[], [], [], [[3, 4, 5, 6]]]


def test_cancelled_requests_are_gone_at_once() -> None:
    engine = make_engine()
    submit(engine, "a", [1, 2, 3])
    submit(engine, "b", [4])
    engine.step()
    engine.cancel(["a", "unknown"])
    outputs = engine.step()
    assert [one.request_id for one in outputs.requests] == ["b"]
    engine.cancel(["b"])
    assert not engine.has_work
    assert used_blocks(engine) == 0


def test_what_cannot_fit_the_cache_is_refused_by_name() -> None:
    engine = make_engine(num_blocks=4)
    submit(engine, "long", [1], max_length=30)
    (finished,) = engine.step().finished
    assert [problem.field for problem in finished.problems] == ["generation_config.max_length"]


def test_a_long_negative_prompt_needs_room_of_its_own() -> None:
    engine = make_engine(num_blocks=4)
    submit(engine, "short", [1], guidance_scale=2.0, negative_prompt_ids=[2])
    submit(engine, "long", [1], guidance_scale=2.0, negative_prompt_ids=[2] * 20)
    _, errors = drain(engine)
    assert errors == {"short": None, "long": "invalid_request"}


def test_a_drafter_that_fails_ends_its_request_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    drafting = engine.strategies[GenerationMode.ASSISTED_GENERATION]

    def propose(requests: list[Request], pipeline: object) -> None:
        if any(request.id == "broken" for request in requests):
            raise RuntimeError("broken drafter")

    monkeypatch.setattr(drafting, "propose", propose)
    submit(engine, "whole", [1, 2, 1], prompt_lookup_num_tokens=2)
    submit(engine, "broken", [1, 2, 1], prompt_lookup_num_tokens=2)
    tokens, errors = drain(engine)
    assert errors == {"whole": None, "broken": "request_failed"}
    assert tokens["whole"] == [2, 3, 4, 5]
    assert used_blocks(engine) == 0


def test_a_full_queue_refuses() -> None:
    engine = make_engine(max_rows=1, max_waiting=1)
    submit(engine, "runs", [1])
    engine.step()
    submit(engine, "waits", [1])
    submit(engine, "too many", [1])
    assert [finished.error_code for finished in engine.step().finished] == ["queue_full"]


def test_what_the_next_step_has_rows_for_does_not_wait() -> None:
    engine = make_engine(max_rows=3, max_waiting=0)
    for name in ("one", "two", "three", "too many"):
        submit(engine, name, [1])
    assert [finished.request_id for finished in engine.step().finished] == ["too many"]


def test_a_passed_deadline_costs_no_step() -> None:
    engine = make_engine(max_rows=1)
    submit(engine, "runs", [1])
    engine.step()
    submit(engine, "late", [1], deadline_s=-1.0)
    finished = engine.step().finished
    assert [(one.request_id, one.error_code) for one in finished] == [("late", "deadline_passed")]


def test_preempted_requests_answer_the_same() -> None:
    answers = []
    for num_blocks in (12, 64):
        engine = make_engine(num_blocks=num_blocks)
        for number in range(3):
            submit(engine, f"r{number}", [number] * 7, do_sample=True, seed=number, max_length=40)
        tokens, errors = drain(engine)
        assert set(errors.values()) == {None}
        assert (engine.step().load.preemptions > 0) == (num_blocks == 12)
        answers.append(tokens)
    assert answers[0] == answers[1]


def test_a_seeded_request_ignores_its_neighbours() -> None:
    fields: dict[str, Any] = {"do_sample": True, "top_k": 0, "seed": 5, "max_length": 20}
    lone = make_engine()
    submit(lone, "r", [1], **fields)
    company = make_engine()
    for number in range(7):
        submit(company, f"n{number}", [2], do_sample=True, top_k=0, max_length=9 + number)
    submit(company, "r", [1], **fields)
    assert drain(company)[0]["r"] == drain(lone)[0]["r"]


class SlowBeams(BeamSearch):
    """Takes its time, on a clock that others can read."""

    now = 0.0

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        self.now += 2.5
        return super().advance(requests, step)


def test_a_slow_step_is_logged_with_the_request_it_was_slow_for(caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowBeams()
    engine = make_engine(watch=Watch(lambda: slow.now))
    engine.strategies[GenerationMode.BEAM_SEARCH] = slow
    submit(engine, "plain", [1, 2])
    assert engine.step().load.slow_steps == 0
    assert caplog.messages == []
    submit(engine, "beams", [1, 2], num_beams=2, bad_words_ids=[[7, 8], [9]], wanted=Wanted(top_n_tokens=3))
    assert engine.step().load.slow_steps == 1
    (line,) = caplog.messages
    assert line.startswith("a step took 2.5 s, 2.5 s of it choosing tokens for: beams (beam_search, 2 prompt tokens, ")
    assert line.endswith("num_beams 2, bad_words_ids of 2, top_n_tokens 3)")


def test_a_request_that_is_slow_to_take_in_is_logged_without_its_texts(caplog: pytest.LogCaptureFixture) -> None:
    times = iter([0.0, 1.5])
    engine = make_engine(watch=Watch(lambda: next(times, 1.5)))
    submit(engine, "a", [1, 2], do_sample=True, watermarking_config="none", eos_token_id=3)
    engine.step()
    (line,) = caplog.messages
    assert line.startswith("a step took 1.5 s, 1.5 s of it taking in: a (sample, 2 prompt tokens, 4 new, ")
    assert line.endswith("do_sample True, watermarking_config)")
