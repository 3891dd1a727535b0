"""The step loop: one forward pass for all running requests, whatever their mode."""

import contextlib
import logging
import time
from collections.abc import Iterable
from collections.abc import Sequence as Seq

import torch
from msgspec import structs

from beamhouse.engine.decoding.strategy import Step, Strategy
from beamhouse.engine.link.errors import DeadlinePassed, EngineError, QueueFull, RequestFailed
from beamhouse.engine.link.messages import Constraint, Load, StepOutputs, Submission, TensorPiece
from beamhouse.engine.loop.inspecting import Inspections, is_inspected
from beamhouse.engine.loop.intake import Intake
from beamhouse.engine.loop.outbox import Outbox
from beamhouse.engine.loop.parts import Parts
from beamhouse.engine.loop.roster import Roster
from beamhouse.engine.loop.settling import Settler
from beamhouse.engine.loop.slow_steps import Watch
from beamhouse.engine.state.batch import Advance, Batch, Forward, Gain
from beamhouse.engine.state.request import Request, Sequence
from beamhouse.schemas.generation.config import GenerationMode

logger = logging.getLogger(__name__)


class Engine:
    """Takes submissions, runs steps, and collects what became known in each.

    Not thread-safe: one loop owns it. Only `prepare` and `compile` may run beside it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settler = Settler(parts.cache)
        self._intake = Intake(parts)
        self._outbox = Outbox()
        self._inspections = Inspections(parts.runner)
        self._roster = Roster(parts, self._outbox, self._inspections)
        self._watch = Watch()
        self._num_steps = 0

    @property
    def has_work(self) -> bool:
        return self._parts.scheduler.has_work or self._outbox.has_finished or self._inspections.first is not None

    def submit(self, submission: Submission) -> None:
        """Queue a prompt. What is wrong with it is answered through the outputs, as everything else."""
        with self._watch.timing("taking in", [submission]):
            self.take(submission, self._full() or self.prepare(submission))

    def prepare(self, submission: Submission) -> Request | EngineError:
        """The request that a submission makes, with all that it needs built, or why there is none.

        Another thread may do this for `take`, so that steps need not wait for it.
        """
        try:
            return self._intake.build(submission)
        except EngineError as error:
            return error
        except Exception as error:
            logger.exception("a request could not be taken in")
            return RequestFailed(f"the request could not be taken in: {type(error).__name__}")

    def take(self, submission: Submission, prepared: Request | EngineError) -> None:
        """Queue what was prepared, or tell why it cannot be."""
        outcome = prepared if isinstance(prepared, EngineError) else self._full() or prepared
        if isinstance(outcome, EngineError):
            self._outbox.fail(submission.request_id, outcome)
            return
        self._roster.add(outcome)
        self._parts.scheduler.add(outcome)

    def _full(self) -> QueueFull | None:
        scheduler = self._parts.scheduler
        return QueueFull(f"{scheduler.num_waiting} requests are waiting already") if scheduler.is_full else None

    def compile(self, constraint: Constraint) -> None:
        """Build what a constraint needs, so that a submission with an equal one finds it. Raises InvalidRequest.

        Another thread may do this.
        """
        self._parts.pipeline.constraints.compile(constraint)

    def cancel(self, request_ids: Iterable[str]) -> None:
        """Stop requests and free all they hold; nothing more is said of them."""
        for request_id in request_ids:
            request = self._roster.by_id.get(request_id)
            if request is not None:
                self._roster.forget(request)
        self._roster.settle_doubts()

    @torch.inference_mode()
    def step(self) -> StepOutputs:
        """Run one step and return all that became known since the last. What raises ends requests, never the loop."""
        load = Load()
        try:
            now = time.monotonic()
            self._end_late(now)
            batch = self._schedule(now)
            if batch.feeds and self._run(batch):
                self._parts.scheduler.took(time.monotonic() - now)
            self._inspect()
            self._roster.settle_doubts()
            load = self._load(batch)
        except Exception as error:
            logger.exception("a step failed")
            self._roster.start_over(error)
        self._watch.end_step()
        return self._outbox.empty(structs.replace(load, slow_steps=self._watch.num_slow))

    def _end_late(self, now: float) -> None:
        for request in self._parts.scheduler.expired(now):
            deadline_s = request.submission.deadline_s or 0.0
            self._roster.fail(request, DeadlinePassed.after(now - request.arrived_at, deadline_s))

    def _schedule(self, now: float) -> Batch:
        """The next step; an empty one where that fails, which ends the request that was being planned for."""
        scheduler = self._parts.scheduler
        try:
            return scheduler.schedule(now, self._propose)
        except Exception as error:
            culprit = scheduler.planned
            if culprit is None or culprit not in self._roster:
                raise
            self._roster.blame(culprit, "planning its step", error)
            return Batch([], [])

    def _propose(self, requests: Seq[Request]) -> None:
        """Let the modes that draft do so; if that raises, one by one: only the culprit ends."""
        for strategy, group in self._by_strategy(requests):
            try:
                with self._timing("drafting for", group):
                    strategy.propose(group, self._parts.pipeline)
            except Exception as error:
                if len(group) > 1:
                    self._end_failed(group)
                    for one in group:
                        if one in self._roster:
                            self._propose([one])
                    continue
                logger.exception("drafting failed in %s", strategy.mode)
                group[0].fail(f"drafting failed: {type(error).__name__}")
            self._end_failed(group)

    def _run(self, batch: Batch) -> bool:
        """Whether the forward pass succeeded; if not, all that ran has ended."""
        starts = {feed.sequence: feed.sequence.num_cached for feed in batch.feeds}
        try:
            with self._timing("the model's pass for", self._parts.scheduler.running):
                forward = self._parts.runner.forward(batch)
        except Exception as error:
            logger.exception("the forward pass failed")
            self._roster.end_running(error)
            return False
        self._num_steps += 1
        for request in list(self._parts.scheduler.running):
            try:
                self._after_forward(request, forward, starts)
            except Exception as error:
                self._roster.blame(request, "keeping what the model computed", error)
        parts = self._parts
        step = Step(forward, parts.pipeline, parts.stopping, parts.runner.project, time.monotonic())
        ready = [request for request in batch.ready if request in self._roster]
        for strategy, requests in self._by_strategy(ready):
            advances = self._advance(strategy, requests, step)
            self._end_failed(requests)
            self._settle(advances)
        return True

    def _after_forward(self, request: Request, forward: Forward, starts: dict[Sequence, int]) -> None:
        """Publish filled blocks; keep the prompt log-probabilities and hidden states somebody asked for."""
        size = self._parts.cache.block_size
        for sequence in request.fed_sequences:
            start = starts.get(sequence)
            if start is None:
                continue
            if start // size != sequence.num_cached // size:
                self._parts.cache.publish(sequence, request.submission.cache_salt)
            if request.reads_every_position and sequence in forward.hidden:
                self._strategy_of(request).observe(request, sequence, start, forward.hidden[sequence])
        if request.submission.wanted.prompt_logprobs:
            sequence = request.sequences[0]
            start = starts.get(sequence)
            if start is not None and start < request.num_prompt:
                span = forward.spans[sequence]
                self._roster.traces[request].record_prompt(sequence, start, forward.logits[span.start : span.stop])

    def _timing(self, doing: str, requests: Seq[Request]) -> contextlib.AbstractContextManager[None]:
        return self._watch.timing(doing, (request.submission for request in requests))

    def _strategy_of(self, request: Request) -> Strategy:
        return self._parts.strategies[request.mode]

    def _by_strategy(self, requests: Seq[Request]) -> list[tuple[Strategy, list[Request]]]:
        groups: dict[GenerationMode, list[Request]] = {}
        for request in requests:
            groups.setdefault(request.mode, []).append(request)
        return [(self._parts.strategies[mode], group) for mode, group in groups.items()]

    def _advance(self, strategy: Strategy, requests: list[Request], step: Step) -> dict[Request, Advance]:
        """Let a strategy choose for all its requests at once; if that raises, one by one: only the culprit ends."""
        try:
            with self._timing("choosing tokens for", requests):
                return strategy.advance(requests, step)
        except Exception as error:
            if len(requests) > 1:
                advances: dict[Request, Advance] = {}
                for one in [one for one in requests if one.failure is None]:
                    advances |= self._advance(strategy, [one], step)
                return advances
            logger.exception("a request failed in %s", strategy.mode)
            reason = str(error) if isinstance(error, EngineError) else type(error).__name__
            requests[0].fail(f"decoding failed: {reason}")
            return {}

    def _end_failed(self, requests: Seq[Request]) -> None:
        """Let those go whose processors or mode said that they cannot go on."""
        for request in requests:
            if request.failure is not None and request in self._roster:
                self._roster.fail(request, request.failure)

    def _settle(self, advances: dict[Request, Advance]) -> None:
        now = time.monotonic()
        for request, advance in advances.items():
            if request.failure is None:
                try:
                    self._apply(request, advance, now)
                except Exception as error:
                    self._roster.blame(request, "going on with what was chosen", error)

    def _apply(self, request: Request, advance: Advance, now: float) -> None:
        """Report what became final, and make the rows of the next step."""
        for row in advance.kept:
            self._roster.traces[request].record(row)
        for gain in advance.gains:
            self._report(request, gain, now)
        if advance.progress:
            self._outbox.show(request, advance.progress)
        self._settler.settle(request, advance.choices)
        if not request.sequences:
            self._finish(request, now)

    def _report(self, request: Request, gain: Gain, now: float) -> None:
        if request.first_token_at is None:
            request.first_token_at = now
        output = request.outputs[gain.index]
        output.token_ids.extend(gain.token_ids)
        output.finish_reason = gain.finish_reason
        self._outbox.add(request, gain)

    def _finish(self, request: Request, now: float) -> None:
        """Tell the end of a request, or first compute what its answer is to show of the model, a piece in each step."""
        if is_inspected(request):
            self._parts.scheduler.remove(request)
            self._inspections.add(request, now)
        else:
            self._complete(request, now, {})

    def _complete(self, request: Request, now: float, shown: dict[str, TensorPiece]) -> None:
        trace = self._roster.traces[request]
        with self._timing("putting together tensors for", [request]):
            tensors = trace.tensors(request, self._parts.runner.vocab_size) | shown
        self._outbox.finish(request, now, tensors, trace.prompt_logprobs)
        self._roster.forget(request)

    def _inspect(self) -> None:
        """The next piece of one request's inspection; whoever else runs waits for no more than that."""
        request = self._inspections.first
        if request is None:
            return
        try:
            with self._timing("looking into the model for", [request]):
                done = self._inspections.advance()
            if done is not None:
                self._complete(request, done.ended_at, done.tensors())
        except Exception as error:
            logger.exception("the tensors of a request could not be computed")
            self._roster.fail(request, RequestFailed(f"its tensors could not be computed: {type(error).__name__}"))

    def _load(self, batch: Batch) -> Load:
        scheduler, cache = self._parts.scheduler, self._parts.cache
        return Load(
            running_requests=len(scheduler.running),
            waiting_requests=scheduler.num_waiting,
            batch_rows=len(batch.feeds),
            used_blocks=cache.num_used,
            total_blocks=cache.num_blocks,
            preemptions=scheduler.num_preemptions,
            steps=self._num_steps,
        )
