"""Between calls and httpx, without doing either: when to ask once more, and the events in the bytes of a stream."""

import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from beamhouse.client.errors import AnswerBroken, BeamhouseError, Busy, NoAnswer, Refused, Unavailable, refusal
from beamhouse.client.shapes.events import Event

CONNECT_S = 10.0
TOLD = ("token", "tokens", "progress")
"""The events that hold themselves; `done` holds the answer, `error` the problem."""


def waits_for(timeout_s: float | None) -> httpx.Timeout:
    """timeout_s: for each piece of an answer, whose first may come after minutes in a queue; None waits on."""
    return httpx.Timeout(timeout_s, connect=CONNECT_S)


@dataclass(frozen=True, slots=True)
class Retries:
    """Ask once more where nothing was answered: no connection, 429 or 503, always before the first byte of an answer.

    attempts: in all. first_wait_s: before the second one, then twice as long each time, or what `Retry-After` says.
    max_wait_s: a server that asks for a longer wait than this is not waited for.
    """

    attempts: int = 4
    first_wait_s: float = 0.5
    max_wait_s: float = 60.0

    def wait_s(self, failure: BeamhouseError, attempt: int) -> float | None:
        """How long to wait after this attempt, counted from 1; None: the failure is the caller's."""
        if attempt >= self.attempts or not may_be_asked_again(failure):
            return None
        asked = seconds_of(failure.retry_after) if isinstance(failure, Refused) else None
        if asked is None:
            # Many clients that were turned away together shall not come back together.
            return min(self.max_wait_s, self.first_wait_s * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        return asked if asked <= self.max_wait_s else None


def may_be_asked_again(failure: BeamhouseError) -> bool:
    return isinstance(failure, Busy | Unavailable) or (isinstance(failure, NoAnswer) and failure.is_retryable)


def seconds_of(retry_after: str | None) -> float | None:
    """What a `Retry-After` says, in seconds or as a date; None where it says nothing that can be read."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def no_answer(error: httpx.TransportError) -> NoAnswer:
    """Whoever waited in vain is not helped by asking the same once more; a connection that broke is made anew."""
    is_retryable = isinstance(error, httpx.NetworkError | httpx.ConnectTimeout | httpx.RemoteProtocolError)
    return NoAnswer(f"{type(error).__name__}: {error}", is_retryable=is_retryable)


def broken(error: Exception) -> AnswerBroken:
    return AnswerBroken(f"the answer broke off: {type(error).__name__}: {error}")


class EventReader:
    """Server-sent events out of the pieces in which their bytes arrive; comments are left out.

    Lines are those of the format: a text may hold what else counts as the end of a line.
    """

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[tuple[str, str]]:
        """The name and the data of each event that this piece completes."""
        self._held.append(piece)
        if b"\n" not in piece:  # an event may come in many pieces, and is put together once
            return
        *complete, rest = b"".join(self._held).replace(b"\r\n", b"\n").split(b"\n\n")
        self._held = [rest]
        for event in complete:
            name, data = "", []
            for line in event.decode().split("\n"):
                field, _, value = line.partition(":")
                if field == "event":
                    name = value.removeprefix(" ")
                elif field == "data":
                    data.append(value.removeprefix(" "))
            if data:
                yield name, "\n".join(data)


def event_of(name: str, data: str) -> Event | None:
    """An event of `POST /generate`; None for one that this client does not know. Raises Refused."""
    said = json_of(data.encode())
    if name == "error":
        raise refusal(said)
    if name == "done":
        return {"event": "done", "answer": said}
    if name in TOLD and isinstance(said, dict):
        told: Any = {"event": name, **said}
        return told  # type: ignore[no-any-return]  # by the name, one of the union
    return None


def json_of(body: bytes) -> Any:
    """What a whole answer holds. Raises AnswerBroken."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise broken(error) from error


def without_nulls(body: Mapping[str, Any]) -> dict[str, Any]:
    """Null equals absent; what is absent need not travel."""
    return {name: value for name, value in body.items() if value is not None}
