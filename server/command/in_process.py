"""One request without a server: the same run as over HTTP, iterated by the command itself."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError

from beamhouse.engine.link.client import EngineClient
from beamhouse.engine.link.errors import EngineError
from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import TokenEvent, TokensEvent
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.words import Stage
from beamhouse.server.answering.start import start
from beamhouse.server.command.failures import CommandFailed
from beamhouse.server.command.loading_report import LoadingReport
from beamhouse.server.edge.errors import Refused, crash_of, problem_of
from beamhouse.server.edge.strict_json import read_checked
from beamhouse.server.edge.validation import problem_of_body
from beamhouse.server.service import Service


class RequestRefused(CommandFailed):
    """There is no answer; the text names the fields."""


@dataclass(frozen=True, slots=True)
class LocalRequest:
    """A body for `POST /generate`, and where the pieces of its text go while they come."""

    body: dict[str, Any]
    show: Callable[[str], None]


async def generate_once(service: Service, client: EngineClient, report: LoadingReport, request: LocalRequest) -> Any:
    """The answer to one request, from a model that is loaded for it. Raises RequestRefused or EngineUnavailable."""
    await client.start()
    try:
        async for status in client.changes():
            if status.stage is not Stage.FAILED and not status.is_ready:
                report.loading(status.stage, status.share)
        await client.loaded()
        report.done()
        return await answer(service, request)
    finally:
        await client.stop()


async def answer(service: Service, request: LocalRequest) -> Any:
    """The answer as JSON has it, its text shown on the way. Raises RequestRefused."""
    try:
        body = read_checked(json.dumps(request.body | {"stream": True}).encode(), GenerateRequest)
        with closing(await start(service, body, time.monotonic())) as run:
            async for event in (event async for events in run.events() for event in events):
                match event:
                    case TokenEvent() | TokensEvent():
                        request.show(event.text or "")
                    case Answer():
                        return json.loads(run.answer_json(event))
                    case ProblemJson():
                        problem = event
    except Refused as error:
        raise RequestRefused(str(error.detail)) from None
    except RequestValidationError as error:
        problem = problem_of_body(error, GenerateRequest)
    except EngineError as error:
        problem = problem_of(error)
    except Exception as error:  # as a server answers it, with the log beside
        problem = crash_of(error)
    raise RequestRefused("\n".join([item.message for item in problem.errors] or [problem.detail]))
