"""How TGI's protocol writes a problem: a sentence and a type, for which its clients have exceptions of their own."""

import orjson

from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.words import ErrorCode, ProblemCode
from beamhouse.server.edge.dialects import Refusal
from beamhouse.server.edge.errors import parts_of, summary
from beamhouse.server.edge.event_stream import as_data

BY_CODE = {
    ErrorCode.QUEUE_FULL: (429, "overloaded", "Model is overloaded"),
    ErrorCode.ENGINE_UNAVAILABLE: (503, "overloaded", "Model is not available"),
    ErrorCode.TOO_MANY_CONNECTIONS: (503, "overloaded", "Model is overloaded"),
    ErrorCode.DEADLINE_PASSED: (504, "overloaded", "Model is overloaded"),
    ErrorCode.REQUEST_FAILED: (424, "generation", "Request failed during generation"),
    ErrorCode.BATCH_FAILED: (424, "generation", "Request failed during generation"),
    ErrorCode.ENGINE_ERROR: (424, "generation", "Request failed during generation"),
    ErrorCode.MODEL_UNSUPPORTED: (424, "generation", "Request failed during generation"),
    ErrorCode.INTERNAL_ERROR: (500, "incomplete_generation", "Incomplete generation"),
}
"""Status, type and the beginning of the sentence. Whatever else is wrong is wrong with the request."""


def tgi_dialect(problem: ProblemJson) -> Refusal:
    status, kind, beginning = words_of(problem)
    content = {"error": f"{beginning}: {sentence_of(problem)}", "error_type": kind}
    return Refusal(status, orjson.dumps(content))


def streaming_tgi_dialect(problem: ProblemJson) -> Refusal:
    """A stream has status 200 whatever happens, and what was wrong is its only event."""
    return Refusal(200, as_data(tgi_dialect(problem).content), "text/event-stream")


def sentence_of(problem: ProblemJson) -> str:
    """What is wrong; the protocol has no place for fields, so that each sentence tells its own."""
    return summary([named(error.pointer, error.message) for error in problem.errors]) or problem.detail


def named(pointer: str, message: str) -> str:
    """A sentence about a field; where it does not speak of the outermost one, with the whole path before it."""
    path = ".".join(parts_of(pointer)).removeprefix("parameters.")
    return message if path.partition(".")[0] in message else f"{path}: {message}"


def words_of(problem: ProblemJson) -> tuple[int, str, str]:
    if {item.code for item in problem.errors} == {ProblemCode.CHAT_TEMPLATE}:
        return problem.status, "template_error", "Template error"
    return BY_CODE.get(problem.code, (problem.status, "validation", "Input validation error"))
