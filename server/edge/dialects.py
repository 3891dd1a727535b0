"""How each protocol writes a problem: what went wrong is the same for all of them, the form is the client's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import Request, Response

from beamhouse.schemas.beamhouse.problem_json import ProblemJson


@dataclass(frozen=True, slots=True)
class Refusal:
    """A problem in the words of a protocol, which may have a status of its own for it."""

    status: int
    content: bytes
    media_type: str = "application/json"


Dialect = Callable[[ProblemJson], Refusal]
STATE = "dialect"


def problem_dialect(problem: ProblemJson) -> Refusal:
    """Our own: RFC 9457."""
    return Refusal(problem.status, problem.model_dump_json().encode(), "application/problem+json")


def use_dialect(request: Request, dialect: Dialect) -> None:
    """For a path on which several protocols meet, once the body has told which one it is."""
    request.scope.setdefault("state", {})[STATE] = dialect


def dialect_of(request: Request) -> Dialect:
    """The one that the request was found to speak, or its route's, or that of the paths around it.

    A route says it by the attribute `dialect` of its class. Paths without a route go by the longest of the beginnings
    that the application's state lists in `dialects`.
    """
    chosen: Dialect | None = request.scope.get("state", {}).get(STATE) or getattr(
        request.scope.get("route"), "dialect", None
    )
    if chosen is not None:
        return chosen
    by_prefix: Mapping[str, Dialect] = request.app.state.dialects
    path = request.url.path
    prefix = max((prefix for prefix in by_prefix if path.startswith(prefix)), key=len, default=None)
    return problem_dialect if prefix is None else by_prefix[prefix]


def respond(request: Request, problem: ProblemJson, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that a client gets instead of what it asked for, in its own protocol."""
    return response_of(dialect_of(request)(problem), headers)


def response_of(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response:
    return Response(refusal.content, refusal.status, headers=headers, media_type=refusal.media_type)
