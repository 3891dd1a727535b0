"""How OpenAI's protocol writes a problem."""

from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.openai.answers import ErrorAnswer, ErrorDetail
from beamhouse.schemas.words import ErrorCode, ProblemCode
from beamhouse.server.answering.answer_json import encode_json
from beamhouse.server.edge.dialects import Refusal
from beamhouse.server.edge.errors import parts_of
from beamhouse.server.edge.event_stream import as_data
from beamhouse.server.edge.strict_json import StrictRoute

DONE = b"data: [DONE]\n\n"
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
CODES = {ProblemCode.CONTEXT_EXCEEDED: "context_length_exceeded", ErrorCode.UNKNOWN_MODEL: "model_not_found"}
"""Where programs look for another word than ours."""
TOO_LONG = "this model's maximum context length is exceeded"
"""Programs that do not look at the code look for these words, to shorten a conversation and try again."""


def openai_dialect(problem: ProblemJson) -> Refusal:
    """A body that is wrong has the status 400 here."""
    status = 400 if problem.status == 422 else problem.status
    return Refusal(status, encode_json(error_of(problem)))


def error_of(problem: ProblemJson) -> ErrorAnswer:
    status = problem.status
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    first = problem.errors[0] if problem.errors else None
    code = problem.code if first is None else first.code
    param = None if first is None else param_of(first.pointer)
    if problem.code is ErrorCode.UNKNOWN_MODEL:
        param = "model"
    message = problem.detail
    if code is ProblemCode.CONTEXT_EXCEEDED:
        message = f"{TOO_LONG}: {message}"
    return ErrorAnswer(ErrorDetail(message, kind, param, CODES.get(code, str(code))))


def param_of(pointer: str) -> str | None:
    """`/messages/0/content` as `messages[0].content`."""
    steps = (f"[{part}]" if part.isdecimal() else f".{part}" for part in parts_of(pointer))
    return "".join(steps).removeprefix(".") or None


def failure(problem: ProblemJson) -> bytes:
    """The end of a stream that failed."""
    return as_data(encode_json(error_of(problem))) + DONE


class OpenAIRoute(StrictRoute):
    """A route of this protocol."""

    dialect = staticmethod(openai_dialect)
