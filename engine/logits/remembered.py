"""Things that take long to build, kept for those who ask for the same soon after: the prompts of one request."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

MOST_KEPT = 4

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """The last things that were asked for, by what they were built from. What is built is never changed.

    Several threads may ask; nobody waits for what another builds.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._known: list[tuple[Any, Value]] = []  # the longest unused first
        self._looking = threading.Lock()

    def get(self, given: Any, build: Callable[[], Value]) -> Value:  # Any: whatever can be compared
        """given: what it follows from. Objects that are the same are not compared further. Raises what `build` does."""
        with self._looking:
            place = next((place for place, (known, _) in enumerate(self._known) if known == given), None)
            if place is not None:
                self._known.append(self._known.pop(place))
                return self._known[-1][1]
        built = build()
        with self._looking:
            self._known.append((given, built))
            del self._known[: -self._most]
        return built
