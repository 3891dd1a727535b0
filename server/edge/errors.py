"""Every error as RFC 9457 problem JSON: one table from what went wrong to a status, one size for all bodies."""

import http
from collections.abc import Sequence

import structlog
from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from beamhouse.engine.link.errors import (
    BatchFailed,
    DeadlinePassed,
    EngineError,
    EngineUnavailable,
    InvalidRequest,
    ModelUnsupported,
    QueueFull,
    RequestFailed,
)
from beamhouse.schemas.beamhouse.problem_json import FieldProblem, ProblemJson
from beamhouse.schemas.problems import MAX_SHOWN, Problem
from beamhouse.schemas.words import ErrorCode, ProblemCode
from beamhouse.server.admission import TURNED_AWAY
from beamhouse.server.edge.dialects import respond
from beamhouse.server.edge.request_id import HEADER

MAX_ERRORS = 10
MAX_PROBLEM_BYTES = 4096
MAX_DETAIL = 512
MAX_MESSAGE = 400
CLIENT_GONE = 499

STATUS: dict[type[EngineError], int] = {
    InvalidRequest: 422,
    QueueFull: 429,
    RequestFailed: 500,
    BatchFailed: 500,
    ModelUnsupported: 500,
    EngineUnavailable: 503,
    DeadlinePassed: 504,
}
HTTP_CODES = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED, 431: ErrorCode.HEADERS_TOO_LARGE}
RETRYABLE = TURNED_AWAY | {408}

log = structlog.get_logger()


class Refused(HTTPException):
    """A request that is turned away before anyone looks at its fields."""

    def __init__(self, status: int, code: ErrorCode, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.code = code


class ClientGone(Exception):
    """The client hung up before its answer was ready."""


def problem_of(error: EngineError, request_id: str = "") -> ProblemJson:
    """What a client is told about a fault of the engine or of its request."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    problems = error.problems if isinstance(error, InvalidRequest) else []
    return problem_json(
        status=status,
        code=code_of(problems) or error.code,
        detail=summary([problem.message for problem in problems]) if problems else str(error),
        request_id=request_id,
        retryable=error.is_retryable,
        errors=[field_problem(problem) for problem in problems[:MAX_ERRORS]],
    )


def code_of(problems: Sequence[Problem | FieldProblem]) -> ErrorCode | None:
    """The code of problems that are all of one kind, where there is one for that kind."""
    codes = {problem.code for problem in problems}
    return ErrorCode.NOT_SUPPORTED if codes == {ProblemCode.NOT_SUPPORTED} else None


def problem_json(
    *,
    status: int,
    code: ErrorCode,
    detail: str,
    request_id: str,
    retryable: bool | None = None,
    errors: Sequence[FieldProblem] = (),
) -> ProblemJson:
    """A problem that stays within `MAX_PROBLEM_BYTES`: errors that do not fit are left out.

    retryable: whether trying again may help; None: as the status has it.
    """
    title = "Client closed the request" if status == CLIENT_GONE else http.HTTPStatus(status).phrase
    kind = f"urn:beamhouse:problem:{code}"
    problem = ProblemJson(
        type=kind,
        title=title,
        status=status,
        detail=cut(detail, MAX_DETAIL),
        code=code,
        request_id=request_id,
        retryable=status in RETRYABLE if retryable is None else retryable,
        errors=list(errors[:MAX_ERRORS]),
    )
    while len(problem.model_dump_json().encode()) > MAX_PROBLEM_BYTES:
        problem.errors.pop()
    return problem


def summary(messages: Sequence[str]) -> str:
    """The first messages in one line, and how many more there are."""
    shown = "; ".join(messages[:3])
    return shown if len(messages) <= 3 else f"{shown}; and {len(messages) - 3} more"


def field_problem(problem: Problem) -> FieldProblem:
    parts = problem.field.split(".") if problem.field else []
    return FieldProblem(pointer=pointer(parts), code=problem.code, message=cut(problem.message, MAX_MESSAGE))


def pointer(parts: Sequence[str | int]) -> str:
    """JSON pointer of a path; parts that a client chose are cut to `MAX_SHOWN` characters."""
    return "".join(f"/{str(part)[:MAX_SHOWN].replace('~', '~0').replace('/', '~1')}" for part in parts)


def parts_of(pointer: str) -> list[str]:
    """The path that a JSON pointer stands for."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def cut(text: str, size: int) -> str:
    """The text in at most `size` bytes of UTF-8, with an ellipsis where it was cut."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= size else data[: size - 3].decode("utf-8", "ignore") + "…"


def request_id_of(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))


async def on_engine_error(request: Request, error: Exception) -> Response:
    """Answer an EngineError; 429 and 503 say when to come back."""
    assert isinstance(error, EngineError)
    service = request.app.state.service
    problem = problem_of(error, request_id_of(request))
    service.metrics.refuse(request.url.path, problem.status)
    return respond(request, problem, service.retry_headers(problem.status))


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer an unknown route, a wrong method, or a body that was refused unread; `Allow` is kept."""
    assert isinstance(error, HTTPException)
    code = error.code if isinstance(error, Refused) else HTTP_CODES.get(error.status_code, ErrorCode.HTTP_ERROR)
    problem = problem_json(
        status=error.status_code,
        code=code,
        detail=str(error.detail) if isinstance(error, Refused) else way_out(request, error),
        request_id=request_id_of(request),
    )
    request.app.state.service.metrics.refuse(request.url.path, problem.status)
    return respond(request, problem, dict(error.headers or {}))


def way_out(request: Request, error: HTTPException) -> str:
    """What is told of a path or a method that no route has: where those are that there are."""
    path, allowed = request.url.path[:MAX_SHOWN], Headers(error.headers or {}).get("allow")
    match error.status_code:
        case 404:
            return f"there is no {path} here; GET /docs lists all routes"
        case 405 if allowed:
            return f"{path} does not take {request.method}; allowed: {allowed}; GET /docs lists all routes"
        case _:
            return str(error.detail)


async def on_client_gone(_: Request, error: Exception) -> Response:
    """Nobody reads this answer; the status is for the access log."""
    assert isinstance(error, ClientGone)
    return Response(status_code=CLIENT_GONE)


async def on_crash(request: Request, error: Exception) -> Response:
    """Answer a fault of our own code. This runs outside of all middleware, so the id is put into the headers here."""
    request.app.state.service.metrics.refuse(request.url.path, 500)
    request_id = request_id_of(request)
    return respond(request, crash_of(error, request_id), {HEADER: request_id})


def crash_of(error: Exception, request_id: str = "") -> ProblemJson:
    """What a client is told about a fault of our own code: nothing of its insides, which are logged."""
    log.error("request crashed", request_id=request_id, exc_info=error)
    detail = "the server failed on this request; the log of the server says why"
    return problem_json(status=500, code=ErrorCode.INTERNAL_ERROR, detail=detail, request_id=request_id)
