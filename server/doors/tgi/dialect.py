"""How TGI's protocol writes a problem: a sentence and a type, for which its clients have exceptions of their own."""

import orjson

from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.words import ErrorCode, ProblemCode
from beamhouse.server.edge.dialects import Refusal
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
    content = {"error": f"{beginning}: {problem.detail}", "error_type": kind}
    return Refusal(status, orjson.dumps(content))


def streaming_tgi_dialect(problem: ProblemJson) -> Refusal:
    """A stream has status 200 whatever happens, and what was wrong is its only event."""
    return Refusal(200, as_data(tgi_dialect(problem).content), "text/event-stream")


def words_of(problem: ProblemJson) -> tuple[int, str, str]:
    if {item.code for item in problem.errors} == {ProblemCode.CHAT_TEMPLATE}:
        return problem.status, "template_error", "Template error"
    return BY_CODE.get(problem.code, (problem.status, "validation", "Input validation error"))
