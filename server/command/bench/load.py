"""A closed loop of streams: so many at once, each lane asking again as soon as it is answered."""

import asyncio
import gc
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from beamhouse.server.command.bench.doors import Door, Fields, failure_in
from beamhouse.server.command.bench.wire import Piece, Target, events, exchange, request_bytes

BROKEN = "broken stream"
TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is asked. requests: in all, or None for as many as begin within `seconds`."""

    concurrency: int
    requests: int | None
    seconds: float | None
    timeout_s: float


@dataclass(slots=True)
class Streamed:
    """One answer. Seconds from the start of the load; tokens that came in one piece came together.

    num_tokens: as the server counts them. failure: why the request counts as failed.
    """

    sent_s: float
    ended_s: float = 0.0
    arrived_s: list[float] = field(default_factory=list)
    num_tokens: int = 0
    failure: str | None = None


@dataclass(slots=True)
class Raw:
    """What one request brought, unread."""

    sent_s: float
    ended_s: float = 0.0
    status: int = 0
    pieces: list[Piece] = field(default_factory=list)
    failure: str | None = None


def run(target: Target, door: Door, body_of: Callable[[int], Fields], extent: Extent) -> list[Streamed]:
    """The answers to bodies by their number, in the order in which they ended."""
    gc.disable()
    try:
        raws = asyncio.run(collect(target, door, body_of, extent))
    finally:
        gc.enable()
    return [read(raw, door) for raw in raws]


async def collect(target: Target, door: Door, body_of: Callable[[int], Fields], extent: Extent) -> list[Raw]:
    raws: list[Raw] = []
    start = time.perf_counter()

    def numbers() -> Iterator[int]:
        """As long as another request may begin."""
        for number in count() if extent.requests is None else range(extent.requests):
            if extent.seconds is not None and time.perf_counter() - start >= extent.seconds:
                return
            yield number

    asked = numbers()

    async def lane() -> None:
        for number in asked:
            raws.append(await ask(target, request_bytes(target, door.path, body_of(number)), start, extent.timeout_s))

    await asyncio.gather(*(lane() for _ in range(extent.concurrency)))
    return raws


async def ask(target: Target, request: bytes, start: float, timeout_s: float) -> Raw:
    raw = Raw(time.perf_counter() - start)
    try:
        raw.status = await asyncio.wait_for(exchange(target, request, raw.pieces, start), timeout_s)
    except TimeoutError:
        raw.failure = TIMEOUT
    except (OSError, EOFError, ValueError) as error:
        raw.failure = type(error).__name__ if not raw.pieces else BROKEN
    raw.ended_s = time.perf_counter() - start
    return raw


def read(raw: Raw, door: Door) -> Streamed:
    """What the pieces of an answer say."""
    answer = Streamed(raw.sent_s, raw.ended_s, failure=raw.failure)
    if raw.failure is None and raw.status != 200:
        answer.failure = refusal(raw)
    if answer.failure is None:
        listen(answer, raw, door)
    return answer


def listen(answer: Streamed, raw: Raw, door: Door) -> None:
    told = None
    for when, name, data in events(raw.pieces):
        if failure := failure_in(name, data):
            answer.failure = failure
            return
        answer.arrived_s += [when] * door.came(data)
        told = door.told(data) or told
    answer.num_tokens = told or len(answer.arrived_s)
    if not answer.num_tokens:
        answer.failure = BROKEN


def refusal(raw: Raw) -> str:
    """The status and, where the body says one in any protocol, the code of a request that was refused."""
    try:
        said = json.loads(b"".join(piece for _, piece in raw.pieces))
    except ValueError:
        said = None
    code = failure_in("error", said) if isinstance(said, dict) else None
    return " ".join([str(raw.status), *([code] if code else [])])
