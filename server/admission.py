"""Who may come in: bounds the requests in work before tokenising, and closes the door when stopping."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from beamhouse.engine.link.errors import EngineUnavailable, QueueFull

MIN_WAIT_S = 1
MAX_WAIT_S = 60

TURNED_AWAY = frozenset({429, 503})
"""The statuses of those who find no room, or no model yet: they are told when to come back."""


class Gate:
    """Counts the requests in work. limit: most of them at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self.mean_s = 1.0
        self.is_closed = False

    def enter(self) -> "Pass":
        """A place for one request, to be given back with `leave`. Raises QueueFull or EngineUnavailable."""
        if self.is_closed:
            raise EngineUnavailable("the server is stopping")
        if self.running >= self.limit:
            raise QueueFull(f"{self.running} requests are in work; at most {self.limit} are allowed")
        self.running += 1
        return Pass(self, time.monotonic())

    @contextmanager
    def entered(self) -> Iterator[None]:
        place = self.enter()
        try:
            yield
        finally:
            place.leave()

    def close(self) -> None:
        """Refuse new requests from now on; the ones in work go on."""
        self.is_closed = True

    def retry_after_s(self, waiting: int = 0) -> int:
        """Whole seconds until a place is likely: the backlog times the recent mean time, over the places."""
        estimate = self.mean_s * (1 + waiting / max(1, self.running))
        return min(MAX_WAIT_S, max(MIN_WAIT_S, math.ceil(estimate)))


class Pass:
    """One place behind the gate; leaving twice counts once."""

    def __init__(self, gate: Gate, entered_at: float) -> None:
        self.gate = gate
        self.entered_at = entered_at
        self.has_left = False

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.entered_at

    def leave(self) -> None:
        if not self.has_left:
            self.has_left = True
            self.gate.running -= 1
            self.gate.mean_s += 0.1 * (self.age_s - self.gate.mean_s)
