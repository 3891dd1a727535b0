"""Takes in beside the steps what takes long to build: tables over many tokens or phrases."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from queue import SimpleQueue
from typing import Any

from pydantic import BaseModel

from beamhouse.engine.link.errors import EngineError
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.link.sharing import large_parts
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.state.request import Request

LARGE = 256
"""Entries of a list, those of lists in it included, from which on a submission is prepared in a thread."""


def is_large(submission: Submission) -> bool:
    """Whether tables have to be built that a step would wait for."""
    constraint = submission.constraint
    sequences = constraint.sequences if constraint is not None else None
    return any(num_entries(part, LARGE) >= LARGE for part in (*large_parts(submission).values(), sequences or []))


def num_entries(nested: Any, enough: int) -> int:
    """Entries of a list or of an object and of all in it; counting ends with `enough`."""
    if isinstance(nested, BaseModel):
        nested = vars(nested)
    if not isinstance(nested, list | tuple | dict):
        return 0
    count = len(nested)
    for item in nested.values() if isinstance(nested, dict) else nested:
        if count >= enough:
            break
        count += num_entries(item, enough)
    return count


class Preparing:
    """The submissions that a thread is preparing, and those that it has done with."""

    def __init__(self, executor: Executor, wake: Callable[[], None]) -> None:
        """executor: of one thread, so that the prompts of a request find what the first of them had built."""
        self._executor, self._wake = executor, wake
        self._wanted: set[str] = set()
        self._done: SimpleQueue[tuple[Submission, Request | EngineError]] = SimpleQueue()

    def add(self, engine: Engine, submission: Submission) -> None:
        self._wanted.add(submission.request_id)
        self._executor.submit(self._prepare, engine, submission)

    def forget(self, request_ids: list[str]) -> None:
        """Let go of what nobody waits for any more."""
        self._wanted.difference_update(request_ids)

    def done(self) -> Iterator[tuple[Submission, Request | EngineError]]:
        """What has become ready since, in the order in which it came."""
        while not self._done.empty():
            submission, prepared = self._done.get()
            if submission.request_id in self._wanted:
                self._wanted.remove(submission.request_id)
                yield submission, prepared

    def _prepare(self, engine: Engine, submission: Submission) -> None:
        """In the thread."""
        if submission.request_id not in self._wanted:
            return
        self._done.put((submission, engine.prepare(submission)))
        self._wake()
