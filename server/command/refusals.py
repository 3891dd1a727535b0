"""Refusals of requests in words for a terminal: those of this process, and those that a server sends."""

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from beamhouse.client import BeamhouseError, Refused
from beamhouse.engine.link.errors import EngineError
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.server.command.failures import CommandFailed
from beamhouse.server.edge import errors
from beamhouse.server.edge.errors import crash_of, problem_of
from beamhouse.server.edge.validation import problem_of_body


class RequestRefused(CommandFailed):
    """There is no answer; the text names the fields."""

    @classmethod
    def of(cls, problem: ProblemJson) -> "RequestRefused":
        return cls("\n".join([item.message for item in problem.errors] or [problem.detail]))


@contextmanager
def refused(body: type[BaseModel]) -> Iterator[None]:
    """Raises RequestRefused for all that a server would answer with a problem. body: what was asked."""
    try:
        yield
    except CommandFailed:
        raise
    except errors.Refused as error:
        raise RequestRefused(str(error.detail)) from None
    except RequestValidationError as error:
        raise RequestRefused.of(problem_of_body(error, body)) from None
    except EngineError as error:
        raise RequestRefused.of(problem_of(error)) from None
    except Exception as error:  # as a server answers it, with the log beside
        raise RequestRefused.of(crash_of(error)) from None


def in_words(error: BeamhouseError) -> str:
    """What a client raised: the sentences of the fields, where a server named some."""
    if isinstance(error, Refused):
        return "\n".join([problem["message"] for problem in error.errors] or [error.detail])
    return str(error)
