"""What goes wrong between a client and its answer, as exceptions."""

import json
from typing import Any, cast

from beamhouse.client.shapes.service import FieldProblem, ProblemJson

MAX_SHOWN = 500
"""Characters shown of an answer that is no problem of ours, such as a page of a proxy."""


class BeamhouseError(Exception):
    """Base of all that this client raises for what happened on the way or on the server."""


class NoAnswer(BeamhouseError):
    """Not a byte of an answer came. is_retryable: whether asking once more costs the server nothing twice."""

    def __init__(self, message: str, *, is_retryable: bool) -> None:
        super().__init__(message)
        self.is_retryable = is_retryable


class AnswerBroken(BeamhouseError):
    """An answer began and did not come to its end, or is none of this server's."""


class Refused(BeamhouseError):
    """The server says why there is no answer, with its words (`docs/words.md`).

    errors: the fields that are wrong, each with its pointer, a code and a sentence. retry_after: what the server's
    header of that name says.
    """

    def __init__(self, problem: ProblemJson, retry_after: str | None = None) -> None:
        super().__init__(f"{problem['status']} {problem['code']}: {problem['detail']}")
        self.problem = problem
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        return self.problem["status"]

    @property
    def code(self) -> str:
        return self.problem["code"]

    @property
    def detail(self) -> str:
        return self.problem["detail"]

    @property
    def request_id(self) -> str:
        return self.problem["request_id"]

    @property
    def errors(self) -> list[FieldProblem]:
        return self.problem.get("errors", [])


class InvalidRequest(Refused):
    """The request can not be answered as it is; `errors` names its fields."""


class Busy(Refused):
    """429: as many requests wait as may."""


class Unavailable(Refused):
    """503: the model is loading, or the server is stopping."""


class DeadlinePassed(Refused):
    """504: the request waited longer than its `deadline_s`."""


class RequestFailed(Refused):
    """5xx: a fault of the server, or of this request while it ran."""


BY_STATUS: dict[int, type[Refused]] = {429: Busy, 503: Unavailable, 504: DeadlinePassed}


def refusal(problem: ProblemJson, retry_after: str | None = None) -> Refused:
    """The exception of a problem, by its status."""
    status = problem["status"]
    kind = BY_STATUS.get(status) or (RequestFailed if status >= 500 else InvalidRequest)
    return kind(problem, retry_after)


def problem_in(status: int, body: bytes) -> ProblemJson:
    """The problem that an answer of this status holds; what others than our servers say becomes one too."""
    try:
        said: Any = json.loads(body)
    except ValueError:
        said = None
    if isinstance(said, dict) and ProblemJson.__required_keys__ <= said.keys():
        return cast(ProblemJson, said)
    detail = body.decode("utf-8", "replace").strip()[:MAX_SHOWN] or "the answer is empty"
    return {
        "type": "about:blank",
        "title": "Not an answer of Beamhouse",
        "status": status,
        "detail": detail,
        "code": "http_error",
        "request_id": "",
        "retryable": False,
    }
