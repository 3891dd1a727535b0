"""Things that take long to build, kept for those who ask for the same soon after: the prompts of one request."""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

MOST_KEPT = 4

Built = TypeVar("Built")


class Remembered(Generic[Built]):
    """The last few things that were built, by what they were built from. What is built is never changed.

    Several threads may ask.
    """

    def __init__(self) -> None:
        self._known: deque[tuple[Any, Built]] = deque(maxlen=MOST_KEPT)

    def get(self, given: Any, build: Callable[[], Built]) -> Built:  # Any: whatever can be compared
        """given: what it follows from. Objects that are the same are not compared further."""
        for known, built in tuple(self._known):
            if known == given:
                return built
        built = build()
        self._known.append((given, built))
        return built
