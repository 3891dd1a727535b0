"""The step loop: one forward pass for all running requests, whatever their mode."""

import contextlib
import logging
import time
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any

import torch

from engine.batch import Advance, Batch, Forward, Gain, Outcome
from engine.cache import BlockCache
from engine.decoding.strategy import Step, Strategy
from engine.errors import BatchFailed, DeadlinePassed, EngineError, InvalidRequest, QueueFull, RequestFailed
from engine.inspecting import Inspections, is_inspected
from engine.logits.guidance import first_sequence
from engine.logits.pipeline import Pipeline
from engine.messages import Constraint, Load, StepOutputs, Submission, Tensor
from engine.outbox import Outbox
from engine.request import Output, Request, Sequence
from engine.runners.runner import Runner
from engine.scheduler import Scheduler
from engine.settling import Settler
from engine.stopping import Stopping
from engine.trace import Trace
from engine.watch import Watch
from schemas.generation import GenerationConfig, GenerationMode
from schemas.generation_mode import row_field
from schemas.problems import Problem

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What an engine is built of."""

    runner: Runner
    cache: BlockCache
    scheduler: Scheduler
    pipeline: Pipeline
    stopping: Stopping
    strategies: dict[GenerationMode, Strategy]
    token_bytes: Seq[bytes] | None


class Engine:
    """Takes submissions, runs steps, and collects what became known in each.

    Not thread-safe: one loop owns it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settler = Settler(parts.cache)
        self._requests: dict[str, Request] = {}
        self._traces: dict[Request, Trace] = {}
        self._outbox = Outbox()
        self._inspections = Inspections(parts.runner)
        self._watch = Watch()
        self._last_config: tuple[dict[str, Any], GenerationConfig] = {}, GenerationConfig()
        self._num_steps = 0
        self._is_in_doubt = False

    @property
    def has_work(self) -> bool:
        return self._parts.scheduler.has_work or self._outbox.has_finished or self._inspections.first is not None

    def submit(self, submission: Submission) -> None:
        """Queue a prompt. What is wrong with it is answered through the outputs, as everything else."""
        with self._watch.timing("taking in", [submission]):
            self._take_in(submission)

    def _take_in(self, submission: Submission) -> None:
        try:
            if self._parts.scheduler.is_full:
                raise QueueFull(f"{self._parts.scheduler.num_waiting} requests are waiting already")
            request = self._admit(submission)
        except EngineError as error:
            self._outbox.fail(submission.request_id, error)
            return
        except Exception as error:
            logger.exception("a request could not be taken in")
            reason = f"the request could not be taken in: {type(error).__name__}"
            self._outbox.fail(submission.request_id, RequestFailed(reason))
            return
        self._requests[request.id] = request
        self._traces[request] = Trace(submission.wanted, request.config)
        self._parts.scheduler.add(request)

    def check(self, constraint: Constraint) -> None:
        """Build what a constraint needs, so that a submission with an equal one finds it. Raises InvalidRequest.

        The only thing here that another thread may do.
        """
        self._parts.pipeline.constraints.compile(constraint)

    def cancel(self, request_ids: Iterable[str]) -> None:
        """Stop requests and free all they hold; nothing more is said of them."""
        for request_id in request_ids:
            request = self._requests.get(request_id)
            if request is not None:
                self._forget(request)
        self._settle_doubts()

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
            self._settle_doubts()
            load = self._load(batch)
        except Exception as error:
            logger.exception("a step failed")
            self._end_running(error)
            self._is_in_doubt = True
            self._settle_doubts()
        self._watch.end_step()
        return self._outbox.empty(load)

    def _end_late(self, now: float) -> None:
        for request in self._parts.scheduler.expired(now):
            self._fail(request, DeadlinePassed.after(now - request.arrived_at, request.submission.deadline_s or 0.0))

    def _schedule(self, now: float) -> Batch:
        """The next step; an empty one where that fails, which ends the request that was being planned for."""
        scheduler = self._parts.scheduler
        try:
            return scheduler.schedule(now, self._propose)
        except Exception as error:
            culprit = scheduler.planned
            if culprit is None or culprit not in self._traces:
                raise
            self._blame(culprit, "planning its step", error)
            return Batch([], [])

    def _blame(self, request: Request, doing: str, error: Exception) -> None:
        """End the request that a fault is of. Whether blocks are still counted right is not known then."""
        logger.exception("%s failed", doing)
        self._is_in_doubt = True
        self._fail(request, RequestFailed(f"{doing} failed: {type(error).__name__}"))

    def _end_running(self, error: Exception) -> None:
        """End all that ran after a fault of nobody knows whom; with nobody running, those that wait."""
        for request in list(self._parts.scheduler.running) or self._parts.scheduler.waiting:
            self._fail(request, BatchFailed(f"the step failed: {type(error).__name__}"))

    def _settle_doubts(self) -> None:
        """After a fault, compute what still runs anew, over a cache that nobody has written in."""
        if self._is_in_doubt:
            self._parts.scheduler.restart()
            self._is_in_doubt = False

    def _propose(self, requests: Seq[Request]) -> None:
        """Let the modes that draft do so; if that raises, one by one: only the culprit ends."""
        for strategy, group in self._by_strategy(requests):
            try:
                with self._timing("drafting for", group):
                    strategy.propose(group, self._parts.pipeline)
            except Exception as error:
                if len(group) > 1:
                    for one in group:
                        self._propose([one])
                    continue
                logger.exception("drafting failed in %s", strategy.mode)
                self._fail(group[0], RequestFailed(f"drafting failed: {type(error).__name__}"))

    def _run(self, batch: Batch) -> bool:
        """Whether the forward pass succeeded; if not, all that ran has ended."""
        starts = {feed.sequence: feed.sequence.num_cached for feed in batch.feeds}
        try:
            with self._timing("the model's pass for", self._parts.scheduler.running):
                forward = self._parts.runner.forward(batch)
        except Exception as error:
            logger.exception("the forward pass failed")
            self._end_running(error)
            return False
        self._num_steps += 1
        for request in list(self._parts.scheduler.running):
            try:
                self._after_forward(request, forward, starts)
            except Exception as error:
                self._blame(request, "keeping what the model computed", error)
        parts = self._parts
        step = Step(forward, parts.pipeline, parts.stopping, parts.runner.project, time.monotonic())
        ready = [request for request in batch.ready if request in self._traces]
        for strategy, requests in self._by_strategy(ready):
            self._settle(self._advance(strategy, requests, step))
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
                self._traces[request].record_prompt(sequence, start, forward.logits[span.start : span.stop])

    def _timing(self, doing: str, requests: Seq[Request]) -> contextlib.AbstractContextManager[None]:
        return self._watch.timing(doing, (request.submission for request in requests))

    def _strategy_of(self, request: Request) -> Strategy:
        return self._parts.strategies[request.mode]

    def _by_strategy(self, requests: Seq[Request]) -> list[tuple[Strategy, list[Request]]]:
        groups: dict[GenerationMode, list[Request]] = {}
        for request in requests:
            groups.setdefault(request.mode, []).append(request)
        return [(self._parts.strategies[mode], group) for mode, group in groups.items()]

    def _advance(self, strategy: Strategy, requests: list[Request], step: Step) -> list[Outcome]:
        """Let a strategy choose for all its requests at once; if that raises, one by one: only the culprit ends."""
        try:
            with self._timing("choosing tokens for", requests):
                return [strategy.advance(requests, step)]
        except Exception as error:
            if len(requests) > 1:
                return [outcome for one in requests for outcome in self._advance(strategy, [one], step)]
            logger.exception("a request failed in %s", strategy.mode)
            reason = str(error) if isinstance(error, EngineError) else type(error).__name__
            self._fail(requests[0], RequestFailed(f"decoding failed: {reason}"))
            return []

    def _settle(self, outcomes: Seq[Outcome]) -> None:
        now = time.monotonic()
        for outcome in outcomes:
            for request, reason in outcome.failed.items():
                self._fail(request, RequestFailed(reason))
            for request, advance in outcome.advances.items():
                try:
                    self._apply(request, advance, now)
                except Exception as error:
                    self._blame(request, "going on with what was chosen", error)

    def _apply(self, request: Request, advance: Advance, now: float) -> None:
        """Report what became final, and make the rows of the next step."""
        for row in advance.kept:
            self._traces[request].record(row)
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

    def _complete(self, request: Request, now: float, shown: dict[str, Tensor]) -> None:
        trace = self._traces[request]
        with self._timing("putting together tensors for", [request]):
            tensors = trace.tensors(request, self._parts.runner.vocab_size) | shown
        self._outbox.finish(request, now, tensors, trace.prompt_logprobs)
        self._forget(request)

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
            self._fail(request, RequestFailed(f"its tensors could not be computed: {type(error).__name__}"))

    def _fail(self, request: Request, error: EngineError) -> None:
        self._outbox.fail(request.id, error)
        self._forget(request)

    def _forget(self, request: Request) -> None:
        self._requests.pop(request.id, None)
        self._outbox.forget(request.id)
        self._inspections.drop(request)
        self._traces.pop(request, None)
        for let_go in (self._strategy_of(request).release, self._parts.scheduler.remove):
            try:
                let_go(request)
            except Exception:
                logger.exception("a request could not be freed")
                self._is_in_doubt = True

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

    def _admit(self, submission: Submission) -> Request:
        """Build the request; InvalidRequest names every field that cannot be obeyed."""
        config = self._config_of(submission)
        generator = torch.Generator(device=self._parts.runner.device)
        if submission.seed is None:
            generator.seed()
        else:
            generator.manual_seed(submission.seed)
        eos = config.eos_token_id
        request = Request(
            submission=submission,
            config=config,
            mode=config.get_generation_mode(submission.assistant_model),
            eos_token_ids=() if eos is None else (eos,) if isinstance(eos, int) else tuple(eos),
            generator=generator,
            sequences=[first_sequence(submission, config)],
            outputs=[Output() for _ in range(config.num_return_sequences or 1)],
            arrived_at=submission.arrived_at or time.monotonic(),
        )
        # The library computes shadows by themselves, and never anew.
        request.sequences[0].renewed_at = self._parts.cache.stretch.renewed_at
        strategy = self._parts.strategies[request.mode]
        request.width = (getattr(config, row_field(request.mode)) or 1) * len(request.sequences[0].with_shadow)
        self._check(request)
        strategy.prepare(request)
        self._parts.pipeline.prepare(request)
        self._parts.stopping.prepare(request, self._parts.token_bytes)
        return request

    def _config_of(self, submission: Submission) -> GenerationConfig:
        """The configuration as an object. What another prompt of the same request brought is not read once more."""
        given, (known, config) = submission.config, self._last_config
        large = [name for name, value in given.items() if isinstance(value, list | dict)]
        if large and known.keys() == given.keys() and all(given[name] is known[name] for name in large):
            config = config.model_copy(update={name: given[name] for name in given.keys() - set(large)})
        else:
            config = GenerationConfig.from_dict(given)
        self._last_config = given, config
        return config

    def _check(self, request: Request) -> None:
        """What only the engine knows: whether the request fits it at all."""
        config, cache, limits = request.config, self._parts.cache, self._parts.scheduler.limits
        problems = []
        if not request.submission.prompt_ids:
            problems.append(Problem("inputs", "empty", "the prompt has no tokens"))
        rows, length = request.width, config.max_length or 0
        if rows > limits.max_rows:
            field = row_field(request.mode)
            guided = " with guidance" if request.sequences[0].shadow is not None else ""
            text = f"{field} is {getattr(config, field)}, which takes {rows} rows of a step{guided}"
            problem = f"{text}; allowed: at most {limits.max_rows}"
            problems.append(Problem(f"generation_config.{field}", "out_of_range", problem))
        elif self._most_blocks(request) > cache.num_blocks:
            room = cache.num_blocks * cache.block_size
            text = f"{rows} sequences of up to {length} tokens do not fit the cache, which holds {room} tokens"
            problems.append(Problem("generation_config.max_length", "out_of_range", text))
        if problems:
            raise InvalidRequest(problems)

    def _most_blocks(self, request: Request) -> int:
        """Cache blocks a request may come to hold: all its rows at full length, shadows after their own prompts."""
        num_new = (request.config.max_length or 0) - request.num_prompt - (not self._strategy_of(request).feeds_last)
        row = request.sequences[0].with_shadow
        blocks_of_row = sum(self._parts.cache.num_blocks_for(one.num_prompt + num_new) for one in row)
        return request.width // len(row) * blocks_of_row
