"""A request while it runs: the tokens of all its prompts become one series of events, the last of them final.

A plain answer is the collected stream. Whoever holds a `Run` closes it, and with that cancels what still runs.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import anyio
import structlog
from msgspec import UNSET, Raw, UnsetType

from beamhouse.engine.link.errors import EngineError, invalid
from beamhouse.engine.link.messages import (
    Finished,
    HypothesisUpdate,
    LikelyTokens,
    RequestOutputs,
    TensorPiece,
    Timings,
    Tokens,
)
from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent
from beamhouse.schemas.beamhouse.generate import Outputs
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.admission import Pass
from beamhouse.server.answering.answer import OutputRow, make_answer, make_rows, say_progress
from beamhouse.server.answering.answer_json import answer_json
from beamhouse.server.answering.tensors import num_bytes
from beamhouse.server.answering.watermarks import add_flags
from beamhouse.server.asking.translate import AcceptedRequest
from beamhouse.server.asking.translated import in_given_names
from beamhouse.server.edge.errors import crash_of, problem_of
from beamhouse.server.metrics import outcome_of
from beamhouse.server.service import Model, Service, TokenStream

TURN_WEIGHT = 500
"""So many tokens, likeliest ones included, are made into events or text, or counted, before others get their turn."""

Event = TokenEvent | TokensEvent | ProgressEvent | Answer | ProblemJson
log = structlog.get_logger()


@dataclass(slots=True)
class Run:
    """One accepted request. streams: one per prompt, in order. request_id: of the HTTP request, for problems."""

    service: Service
    model: Model
    accepted: AcceptedRequest
    streams: Sequence[TokenStream]
    place: Pass
    request_id: str
    outcome: str = "cancelled"
    tensors: dict[str, TensorPiece] = field(default_factory=dict)
    prompt_top_tokens: list[LikelyTokens] = field(default_factory=list)
    rows: list[OutputRow] = field(default_factory=list)
    _last_at: dict[int, float] = field(default_factory=dict)
    _is_closed: bool = False

    async def events(self) -> AsyncIterator[list[Event]]:
        """Events of tokens and of progress, as many as came together; then exactly one Answer or ProblemJson."""
        self.rows = make_rows(self.accepted, self.model.text)
        try:
            with in_given_names(self.accepted.given_names):
                async for prompt_index, arrived in merge_streams(self.streams):
                    async for events in self._say(prompt_index, arrived):
                        yield events
                final: Answer | ProblemJson = await self._answer()
            self.outcome = "ok"
        except EngineError as error:
            final = problem_of(error, self.request_id)
            self.outcome = outcome_of(final.status)
        except Exception as error:  # a stream has no other way to end than by a last event
            final = crash_of(error, self.request_id)
            self.outcome = "failed"
        yield [final]

    async def result(self) -> Answer | ProblemJson:
        """The last event."""
        final: Event | None = None
        async for events in self.events():
            final = events[-1]
        assert isinstance(final, Answer | ProblemJson)
        return final

    def close(self) -> None:
        """Cancel what still runs, give the place back, count the request. Later calls do nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self.place.leave()
        for stream in self.streams:
            stream.cancel()
        num_tokens = sum(row.num_tokens for row in self.rows)
        self.service.metrics.end(self.accepted.config.mode, self.outcome, self.place.age_s)
        self.service.metrics.generated_tokens.inc(num_tokens)
        if self.outcome == "ok":
            for number in self._num_generated():
                self.service.metrics.generated_length.observe(number)
        log.info(
            "request finished",
            id=self.accepted.id,
            mode=self.accepted.config.mode,
            outcome=self.outcome,
            tokens=num_tokens,
            ms=round(self.place.age_s * 1000),
        )

    async def _say(self, prompt_index: int, arrived: list[RequestOutputs]) -> AsyncIterator[list[Event]]:
        """The events of what came together, unless there is so much of it that others have to get their turn."""
        events: list[Event] = []
        num_entries = 0
        for outputs in arrived:
            for tokens in outputs.tokens:
                if (event := self._add(prompt_index, tokens)) is not None:
                    events.append(event)
                num_entries += tokens.num_entries
                if num_entries > TURN_WEIGHT:
                    if events:
                        yield events
                    events, num_entries = [], 0
                    await asyncio.sleep(0)
            if outputs.hypotheses:
                events.append(await self._progress(prompt_index, outputs.hypotheses))
        if events:
            yield events

    def _add(self, prompt_index: int, tokens: Tokens) -> TokenEvent | TokensEvent | None:
        row = self.rows[prompt_index * self.accepted.num_rows + tokens.sequence]
        if not self.accepted.is_streamed:
            row.add(tokens)
            return None
        if tokens.token_ids:
            self._measure(row.index, len(tokens.token_ids))
        return row.say(tokens, self.model.text)

    async def _progress(self, prompt_index: int, hypotheses: list[HypothesisUpdate]) -> ProgressEvent:
        """Whole hypotheses are decoded at every step, too much for the event loop."""
        return await anyio.to_thread.run_sync(
            say_progress, self.accepted, prompt_index, hypotheses, self.model.text, limiter=self.service.limiter
        )

    async def _answer(self) -> Answer:
        finished = [stream.finished for stream in self.streams if stream.finished is not None]
        for message in finished:
            if message.timings is not None:
                await self._observe(message.timings)
        self.tensors = named_tensors(finished)
        likely = (message.prompt_top_tokens for message in finished)
        self.prompt_top_tokens = [one for one in likely if one is not None]
        answer = make_answer(self.accepted, self.rows, finished)
        await add_flags(self.service, self.model, self.accepted, answer)
        self._check_size()
        return answer

    def _num_generated(self) -> list[int]:
        """Tokens of each prompt, all its sequences together."""
        size = self.accepted.num_rows
        return [sum(row.num_tokens for row in self.rows[at : at + size]) for at in range(0, len(self.rows), size)]

    def is_last(self, event: TokenEvent | TokensEvent) -> bool:
        """Whether nothing more will be said of its sequence."""
        gained = self.rows[event.sequence].gained
        num_said = 1 if isinstance(event, TokenEvent) else len(event.token_ids)
        return gained.finish_reason is not None and event.index + num_said == len(gained.token_ids)

    def retold(self) -> list[TokensEvent]:
        """What a stream would have said, each sequence in one event, once all have ended."""
        return [row.retold(self.model.text) for row in self.rows]

    def answer_json(self, answer: Answer) -> bytes:
        """The whole answer; a safetensors file has its tensors beside it."""
        outputs = self.accepted.outputs
        tensors = {} if outputs.tensors == "safetensors" else self.tensors
        return answer_json(answer, outputs, self.rows, tensors, self.prompt_top_tokens, self.model.text)

    def native(self, answer: Answer, asked: Outputs | None) -> Raw | UnsetType:
        """Our own answer within that of another protocol, whose body asks by `outputs` for what it has no word for."""
        return UNSET if asked is None else Raw(self.answer_json(answer))

    def _check_size(self) -> None:
        """What the widths of a model did not foretell is still not sent beyond the limit."""
        size = num_bytes(self.tensors, self.accepted.outputs.tensors or "json")
        limit = self.service.settings.server.max_tensor_bytes
        if size > limit:
            message = f"the tensors take {size} bytes; allowed: at most {limit}"
            raise invalid("outputs.tensors", ProblemCode.OUT_OF_RANGE, message)

    async def _observe(self, timings: Timings) -> None:
        """What the engine says of a prompt. Tokens that nobody read as they came tell nothing when they arrive."""
        metrics = self.service.metrics
        metrics.queue.observe(timings.queue_s)
        metrics.inference.observe(timings.prefill_s + timings.decode_s)
        num_more = max(row.num_tokens for row in self.rows) - 1
        if not self.accepted.is_streamed and num_more >= 0:
            metrics.first_token.observe(timings.queue_s + timings.prefill_s)
            for number in range(num_more):  # as many observations as there are gaps, as for a stream
                if number % TURN_WEIGHT == 0:
                    await asyncio.sleep(0)
                metrics.inter_token.observe(timings.decode_s / num_more)

    def _measure(self, row: int, num_tokens: int) -> None:
        """Latency of the first token of a row, and of each following one."""
        now = time.monotonic()
        before = self._last_at.get(row)
        self._last_at[row] = now
        if before is None:
            self.service.metrics.first_token.observe(self.place.age_s)
        else:
            self.service.metrics.inter_token.observe((now - before) / num_tokens)


def named_tensors(finished: Sequence[Finished]) -> dict[str, TensorPiece]:
    """All tensors of a request; with several prompts each name says which one it belongs to."""
    if len(finished) == 1:
        return finished[0].tensors
    return {
        f"prompt.{index}.{name}": tensor
        for index, message in enumerate(finished)
        for name, tensor in message.tensors.items()
    }


async def merge_streams(streams: Sequence[TokenStream]) -> AsyncIterator[tuple[int, list[RequestOutputs]]]:
    """What all streams bring, as it comes, with the place of its stream."""
    if len(streams) == 1:
        async for updates in streams[0]:
            yield 0, updates
        return
    iterators = [aiter(stream) for stream in streams]
    waiting = {asyncio.ensure_future(advance(iterator)): index for index, iterator in enumerate(iterators)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                index = waiting.pop(task)
                arrived = task.result()
                if arrived is not None:
                    waiting[asyncio.ensure_future(advance(iterators[index]))] = index
                    yield index, arrived
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def advance(iterator: AsyncIterator[list[RequestOutputs]]) -> list[RequestOutputs] | None:
    return await anext(iterator, None)
