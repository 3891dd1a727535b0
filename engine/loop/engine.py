"""The step loop: one forward pass for all running requests, whatever their mode."""

import contextlib
import logging
import time
from collections.abc import Iterable
from collections.abc import Sequence as Seq

import torch
from msgspec import structs

from beamhouse.engine.decoding.stopping import Stopping
from beamhouse.engine.decoding.strategy import Step, Strategy, ended
from beamhouse.engine.link.errors import DeadlinePassed, EngineError, QueueFull, RequestFailed
from beamhouse.engine.link.messages import Constraint, Load, StepOutputs, Submission, TensorPiece
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.loop.inspecting import Inspections, is_inspected
from beamhouse.engine.loop.intake import Intake
from beamhouse.engine.loop.outbox import Outbox
from beamhouse.engine.loop.roster import Roster
from beamhouse.engine.loop.scheduler import Scheduler
from beamhouse.engine.loop.settling import Settler
from beamhouse.engine.loop.slow_steps import Watch
from beamhouse.engine.loop.step_budget import StepLimits
from beamhouse.engine.runners.runner import InspectableRunner
from beamhouse.engine.state.batch import Advance, Batch, Forward
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Request, Sequence
from beamhouse.schemas.generation.modes import GenerationMode

logger = logging.getLogger(__name__)


class Engine:
    """Takes submissions, runs steps, and collects what became known in each.

    Not thread-safe: one loop owns it. Only `prepare` and `compile` may run beside it.
    """

    def __init__(
        self,
        runner: InspectableRunner,
        cache: BlockCache,
        limits: StepLimits,
        pipeline: Pipeline,
        strategies: dict[GenerationMode, Strategy],
        watch: Watch | None = None,
    ) -> None:
        """cache: the accounting of the blocks that the runner keeps keys and values in."""
        self.runner, self.cache, self.pipeline, self.strategies = runner, cache, pipeline, strategies
        self.scheduler = Scheduler(cache, limits)
        self._stopping = Stopping(pipeline.registry)
        self._settler = Settler(cache)
        self._intake = Intake(cache, limits, pipeline, self._stopping, strategies)
        self.outbox = Outbox()
        self.inspections = Inspections(runner)
        self.roster = Roster(self.scheduler, strategies, self.outbox, self.inspections)
        self._watch = watch or Watch()
        self._num_steps = 0

    @property
    def has_work(self) -> bool:
        return self.scheduler.has_work or self.outbox.has_finished or self.inspections.first is not None

    def submit(self, submission: Submission) -> None:
        """Queue a prompt. What is wrong with it is answered through the outputs, as everything else."""
        with self._watch.timing("taking in", [submission]):
            self.take(submission, self._full() or self.prepare(submission))

    def prepare(self, submission: Submission) -> Request | EngineError:
        """The request that a submission makes, with all that it needs built, or why there is none.

        Another thread may do this for `take`, so that steps need not wait for it.
        """
        return self._intake.prepare(submission)

    def take(self, submission: Submission, prepared: Request | EngineError) -> None:
        """Queue what was prepared, or tell why it cannot be."""
        outcome = prepared if isinstance(prepared, EngineError) else self._full() or prepared
        if isinstance(outcome, EngineError):
            self.outbox.fail(submission.request_id, outcome)
            return
        self.roster.add(outcome)
        self.scheduler.add(outcome)

    def _full(self) -> QueueFull | None:
        scheduler = self.scheduler
        return QueueFull(f"{scheduler.num_waiting} requests are waiting already") if scheduler.is_full else None

    def compile(self, constraint: Constraint) -> None:
        """Build what a constraint needs, so that a submission with an equal one finds it. Raises InvalidRequest.

        Another thread may do this.
        """
        self.pipeline.constraints.compile(constraint)

    def cancel(self, request_ids: Iterable[str]) -> None:
        """Stop requests and free all they hold; nothing more is said of them."""
        for request_id in request_ids:
            request = self.roster.by_id.get(request_id)
            if request is not None:
                self.roster.forget(request)
        self.roster.settle_doubts()

    @torch.inference_mode()
    def step(self) -> StepOutputs:
        """Run one step and return all that became known since the last. What raises ends requests, never the loop."""
        load = Load()
        try:
            now = time.monotonic()
            self._end_late(now)
            batch = self._schedule(now)
            if batch.feeds and self._run(batch):
                self.scheduler.took(time.monotonic() - now)
            self._inspect()
            self.roster.settle_doubts()
            load = self._load(batch)
        except Exception as error:
            logger.exception("a step failed")
            self.roster.start_over(error)
        self._watch.end_step()
        return self.outbox.empty(structs.replace(load, slow_steps=self._watch.num_slow))

    def _end_late(self, now: float) -> None:
        for request in self.scheduler.expired(now):
            deadline_s = request.submission.deadline_s or 0.0
            self.roster.fail(request, DeadlinePassed.after(now - request.arrived_at, deadline_s))

    def _schedule(self, now: float) -> Batch:
        """The next step; an empty one where that fails, which ends the request that was being planned for."""
        scheduler = self.scheduler
        try:
            return scheduler.schedule(now, self._propose)
        except Exception as error:
            culprit = scheduler.planned
            if culprit is None or culprit not in self.roster:
                raise
            self.roster.blame(culprit, "planning its step", error)
            return Batch([], [])

    def _propose(self, requests: Seq[Request]) -> None:
        """Let the modes that draft do so; if that raises, one by one: only the culprit ends."""
        for strategy, group in self._by_strategy(requests):
            try:
                with self._timing("drafting for", group):
                    strategy.propose(group, self.pipeline)
            except Exception as error:
                if len(group) > 1:
                    self._end_failed(group)
                    for one in group:
                        if one in self.roster:
                            self._propose([one])
                    continue
                logger.exception("drafting failed in %s", strategy.mode)
                group[0].fail(f"drafting failed: {type(error).__name__}")
            self._end_failed(group)

    def _run(self, batch: Batch) -> bool:
        """Whether the forward pass succeeded; if not, all that ran has ended."""
        starts = {feed.sequence: feed.sequence.num_cached for feed in batch.feeds}
        try:
            with self._timing("the model's pass for", self.scheduler.running):
                forward = self.runner.forward(batch)
        except Exception as error:
            logger.exception("the forward pass failed")
            self.roster.end_running(error)
            return False
        self._num_steps += 1
        for request in list(self.scheduler.running):
            try:
                self._after_forward(request, forward, starts)
            except Exception as error:
                self.roster.blame(request, "keeping what the model computed", error)
        step = Step(forward, self.pipeline, self._stopping, self.runner.project, time.monotonic())
        ready = [request for request in batch.ready if request in self.roster]
        read = [request for request in ready if request.submission.wanted.prompt_only]
        self._settle({request: ended(request) for request in read})
        for strategy, requests in self._by_strategy([request for request in ready if request not in read]):
            advances = self._advance(strategy, requests, step)
            self._end_failed(requests)
            self._settle(advances)
        return True

    def _after_forward(self, request: Request, forward: Forward, starts: dict[Sequence, int]) -> None:
        """Publish filled blocks; keep what somebody asked for of the prompt, and hidden states."""
        size = self.cache.block_size
        for sequence in request.fed_sequences:
            start = starts.get(sequence)
            if start is None:
                continue
            if start // size != sequence.num_cached // size:
                self.cache.publish(sequence, request.submission.cache_salt)
            if request.reads_every_position and sequence in forward.hidden:
                self.strategies[request.config.mode].observe(request, sequence, start, forward.hidden[sequence])
        if request.submission.wanted.reads_prompt:
            sequence = request.sequences[0]
            start = starts.get(sequence)
            if start is not None and start < request.num_prompt:
                span = forward.spans[sequence]
                self.roster.traces[request].record_prompt(sequence, start, forward.logits[span.start : span.stop])

    def _timing(self, doing: str, requests: Seq[Request]) -> contextlib.AbstractContextManager[None]:
        return self._watch.timing(doing, (request.submission for request in requests))

    def _by_strategy(self, requests: Seq[Request]) -> list[tuple[Strategy, list[Request]]]:
        groups: dict[GenerationMode, list[Request]] = {}
        for request in requests:
            groups.setdefault(request.config.mode, []).append(request)
        return [(self.strategies[mode], group) for mode, group in groups.items()]

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
            if request.failure is not None and request in self.roster:
                self.roster.fail(request, request.failure)

    def _settle(self, advances: dict[Request, Advance]) -> None:
        now = time.monotonic()
        for request, advance in advances.items():
            if request.failure is None:
                try:
                    self._apply(request, advance, now)
                except Exception as error:
                    self.roster.blame(request, "going on with what was chosen", error)

    def _apply(self, request: Request, advance: Advance, now: float) -> None:
        """Report what became final, and make the rows of the next step."""
        for row in advance.kept:
            self.roster.traces[request].record(row)
        if advance.gains and request.first_token_at is None:
            request.first_token_at = now
        self.outbox.add(request, advance)
        self._settler.settle(request, advance.choices)
        if not request.sequences:
            self._finish(request, now)

    def _finish(self, request: Request, now: float) -> None:
        """Tell the end of a request, or first compute what its answer is to show of the model, a piece in each step."""
        if is_inspected(request):
            self.scheduler.remove(request)
            self.inspections.add(request, now)
        else:
            self._complete(request, now, {})

    def _complete(self, request: Request, now: float, shown: dict[str, TensorPiece]) -> None:
        trace = self.roster.traces[request]
        with self._timing("putting together tensors for", [request]):
            tensors = trace.tensors(request, self.runner.vocab_size) | shown
            self.outbox.finish(request, now, tensors, trace)
        self.roster.forget(request)

    def _inspect(self) -> None:
        """The next piece of one request's inspection; whoever else runs waits for no more than that."""
        request = self.inspections.first
        if request is None:
            return
        try:
            with self._timing("looking into the model for", [request]):
                done = self.inspections.advance()
            if done is not None:
                self._complete(request, done.ended_at, done.tensors())
        except Exception as error:
            logger.exception("the tensors of a request could not be computed")
            self.roster.fail(request, RequestFailed(f"its tensors could not be computed: {type(error).__name__}"))

    def _load(self, batch: Batch) -> Load:
        scheduler, cache = self.scheduler, self.cache
        return Load(
            running_requests=len(scheduler.running),
            waiting_requests=scheduler.num_waiting,
            batch_rows=len(batch.feeds),
            used_blocks=cache.num_used,
            total_blocks=cache.num_blocks,
            preemptions=scheduler.num_preemptions,
            steps=self._num_steps,
        )
