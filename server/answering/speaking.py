"""How a protocol says a run, as one answer or as server-sent events: one path for all of them."""

from collections.abc import AsyncGenerator, Callable
from contextlib import closing
from typing import Protocol

import anyio
from fastapi import Response

from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.server.answering.run import Run
from beamhouse.server.answering.start import start
from beamhouse.server.edge.dialects import respond
from beamhouse.server.edge.errors import request_id_of
from beamhouse.server.edge.event_stream import EventStream
from beamhouse.server.edge.hang_up import unless_gone
from beamhouse.server.edge.strict_json import StrictRequest
from beamhouse.server.service import Service


class Speaker(Protocol):
    """Says one run in the words of a protocol.

    A stream is `begin`, `say` for every event, then `end` or `fail`: each gives whole server-sent events, or nothing.
    A plain answer is `whole` alone, which best takes in `Run.retold()` as `say` takes in events, so that both tell the
    same. `end` and `whole` run in a worker thread.
    """

    def begin(self) -> bytes: ...
    def say(self, event: TokenEvent | TokensEvent | ProgressEvent) -> bytes: ...
    def end(self, answer: Answer) -> bytes: ...
    def fail(self, problem: ProblemJson) -> bytes: ...
    def whole(self, answer: Answer) -> Response: ...


async def speak(
    request: StrictRequest, service: Service, body: GenerateRequest, speaker_of: Callable[[Run], Speaker]
) -> Response:
    """The answer to `body`: events if it asks for a stream. Raises EngineError before anything is computed.

    A client that hangs up ends the run.
    """
    run = await unless_gone(request, start(service, body, request.arrived_at, request_id_of(request)))
    speaker = speaker_of(run)
    if body.stream:
        return EventStream(spoken(run, speaker), run.close, service.settings.server.ping_s)
    with closing(run):
        final = await unless_gone(request, run.result())
        if isinstance(final, ProblemJson):
            return respond(request, final, service.retry_headers(final.status))
        return await anyio.to_thread.run_sync(speaker.whole, final, limiter=service.limiter)


async def spoken(run: Run, speaker: Speaker) -> AsyncGenerator[bytes, None]:
    """What came together travels together."""
    if first := speaker.begin():
        yield first
    async for events in run.events():
        match events[-1]:
            case Answer() as answer:
                yield await anyio.to_thread.run_sync(speaker.end, answer, limiter=run.service.limiter)
            case ProblemJson() as problem:
                yield speaker.fail(problem)
            case _:
                said = b"".join(speaker.say(event) for event in events)  # type: ignore[arg-type]  # a last event is alone
                if said:
                    yield said
