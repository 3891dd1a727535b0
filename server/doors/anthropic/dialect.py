"""How Anthropic's protocol writes a problem."""

from beamhouse.schemas.anthropic.answers import ErrorAnswer, ErrorDetail
from beamhouse.schemas.beamhouse.problem_json import FieldProblem, ProblemJson
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.answering.answer_json import encode_json
from beamhouse.server.edge.dialects import Refusal
from beamhouse.server.edge.errors import parts_of
from beamhouse.server.edge.strict_json import StrictRoute

STATUSES = {422: 400, 503: 529}
"""Ours that are others there: a body that is wrong, and a server that cannot answer now."""
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

TOO_LONG = "prompt is too long"
"""By these words agents know that they have to shorten their conversation."""


def anthropic_dialect(problem: ProblemJson) -> Refusal:
    return Refusal(status_of(problem), encode_json(error_of(problem)))


def status_of(problem: ProblemJson) -> int:
    return STATUSES.get(problem.status, problem.status)


def error_of(problem: ProblemJson) -> ErrorAnswer:
    """The message begins with the field, as the API's own messages do."""
    status = status_of(problem)
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    named = "; ".join(f"{start_of(error)}{error.message}" for error in problem.errors)
    return ErrorAnswer(ErrorDetail(kind, named or problem.detail), problem.request_id)


def start_of(error: FieldProblem) -> str:
    """What the API's messages begin with: `/messages/0/content` as `messages.0.content: `."""
    if error.code is ProblemCode.CONTEXT_EXCEEDED:
        return f"{TOO_LONG}: "
    path = ".".join(parts_of(error.pointer))
    return f"{path}: " if path else ""


class AnthropicRoute(StrictRoute):
    """A route of this protocol."""

    dialect = staticmethod(anthropic_dialect)
