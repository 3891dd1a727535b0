"""The tree of everything that can go wrong between a request and its answer."""

from collections.abc import Sequence
from typing import ClassVar

from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ErrorCode, ProblemCode


class EngineError(Exception):
    """Base of all faults a caller may meet. `code` is stable; `is_retryable` says whether trying again can help."""

    code: ClassVar[ErrorCode] = ErrorCode.ENGINE_ERROR
    is_retryable: ClassVar[bool] = False


class InvalidRequest(EngineError):
    """The request asks for something impossible, unknown or not supported; every problem names its field."""

    code = ErrorCode.INVALID_REQUEST

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in self.problems))


def invalid(field: str, code: ProblemCode, message: str) -> InvalidRequest:
    """An InvalidRequest with one problem."""
    return InvalidRequest([Problem(field, code, message)])


class RequestFailed(EngineError):
    """A fault of this request alone while it was running: a row of NaN, a constraint that allows no token."""

    code = ErrorCode.REQUEST_FAILED


class BatchFailed(EngineError):
    """The forward pass failed; all requests that were running end with this."""

    code = ErrorCode.BATCH_FAILED
    is_retryable = True


class EngineUnavailable(EngineError):
    """The engine is still loading, is stopping, or has died."""

    code = ErrorCode.ENGINE_UNAVAILABLE
    is_retryable = True


class QueueFull(EngineError):
    """There is no room for another waiting request."""

    code = ErrorCode.QUEUE_FULL
    is_retryable = True


class DeadlinePassed(EngineError):
    """The request waited longer than its `deadline_s`."""

    code = ErrorCode.DEADLINE_PASSED
    is_retryable = True

    @classmethod
    def after(cls, waited_s: float, deadline_s: float) -> "DeadlinePassed":
        return cls(f"waited {waited_s:.1f} s; its deadline was {deadline_s:g} s")


class ModelUnsupported(EngineError):
    """The model cannot be served: wrong architecture, missing files, unsafe weights. Raised while loading."""

    code = ErrorCode.MODEL_UNSUPPORTED


BY_CODE: dict[ErrorCode, type[EngineError]] = {
    kind.code: kind
    for kind in (RequestFailed, BatchFailed, EngineUnavailable, QueueFull, DeadlinePassed, ModelUnsupported)
}
"""Errors that travel between the processes as a code and a text."""


def in_words(error: Exception) -> str:
    """In one line what went wrong in code that is not ours to know."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
