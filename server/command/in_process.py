"""One request without a server: the same run as over HTTP, iterated by the command itself."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

from beamhouse.engine.link.client import EngineClient
from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import TokenEvent, TokensEvent
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.words import Stage
from beamhouse.server.answering.start import start
from beamhouse.server.command.loading_report import LoadingReport
from beamhouse.server.command.refusals import RequestRefused, refused
from beamhouse.server.edge.strict_json import read_checked
from beamhouse.server.service import Service


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """A body for `POST /generate`, and where the text of its first sequence goes piece by piece, as it comes."""

    body: dict[str, Any]
    show: Callable[[str], None]


async def generate_once(service: Service, client: EngineClient, report: LoadingReport, request: LocalRequest) -> Any:
    """The answer to one request, from a model that is loaded for it. Raises RequestRefused or EngineUnavailable."""
    async with loaded(client, report):
        return await answer(service, request)


@asynccontextmanager
async def loaded(client: EngineClient, report: LoadingReport) -> AsyncIterator[None]:
    """An engine with its model, for as long as this lasts. Raises EngineUnavailable."""
    await client.start()
    try:
        async for status in client.changes():
            if status.stage is not Stage.FAILED and not status.is_ready:
                report.loading(status.stage, status.share)
        await client.loaded()
        report.done()
        yield
    finally:
        await client.stop()


async def answer(service: Service, request: LocalRequest) -> Any:
    """The answer as JSON has it, its text shown on the way. Raises RequestRefused."""
    with refused(GenerateRequest):
        body = read_checked(json.dumps(request.body | {"stream": True}).encode(), GenerateRequest)
        with closing(await start(service, body, time.monotonic())) as run:
            async for event in (event async for events in run.events() for event in events):
                match event:
                    case TokenEvent() | TokensEvent():
                        if event.sequence == 0:
                            request.show(event.text or "")
                    case Answer():
                        return json.loads(run.answer_json(event))
                    case ProblemJson():
                        raise RequestRefused.of(event)
