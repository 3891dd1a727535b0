"""Loads of streams on any server of this machine, each answer of exactly so many tokens."""

import asyncio
import gc
import time
from dataclasses import dataclass
from typing import Any, Protocol

from beamhouse.server.command.bench.wire import Piece, Target, events, exchange, request_bytes
from benchmarks.cases.loads import Ask, Lanes

MOST_S = 900.0
"""How long one load may take."""


class BadAnswer(Exception):
    """A server refused a request or sent another number of tokens than asked for."""


class Dialect(Protocol):
    """How a server is asked and what its events mean."""

    @property
    def path(self) -> str: ...

    def body(self, ask: Ask) -> dict[str, Any]: ...

    def tokens(self, name: str, data: dict[str, Any]) -> list[int]:
        """The tokens of one event; raises BadAnswer for one that reports a failure."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """One answer: how long its prompt is, and when it was asked and each token arrived, in seconds from the start."""

    num_prompt: int
    sent_s: float
    arrived_s: list[float]
    token_ids: list[int]


@dataclass(slots=True)
class Raw:
    """What one request brought: pieces of its answer, with the seconds from the start."""

    ask: Ask
    sent_s: float
    pieces: list[Piece]


def drive(port: int, dialect: Dialect, lanes: Lanes) -> list[Streamed]:
    """All lanes at once, each on connections of its own. Raises BadAnswer."""
    return [read(raw, dialect) for raw in collect(port, dialect, lanes)]


def collect(port: int, dialect: Dialect, lanes: Lanes) -> list[Raw]:
    """The part of `drive` that takes the server's time: nothing is read yet. Raises BadAnswer."""
    gc.disable()
    try:
        return asyncio.run(asyncio.wait_for(_collect(port, dialect, lanes), MOST_S))
    except TimeoutError as error:
        raise BadAnswer(f"it had not answered within {MOST_S:g} s") from error
    except (OSError, EOFError) as error:
        raise BadAnswer(f"it hung up: {error}") from error
    finally:
        gc.enable()


async def _collect(port: int, dialect: Dialect, lanes: Lanes) -> list[Raw]:
    target = Target("127.0.0.1", port)
    heads = [[(ask, request_bytes(target, dialect.path, dialect.body(ask))) for ask in lane] for lane in lanes]
    start = time.perf_counter()

    async def run(lane: list[tuple[Ask, bytes]]) -> list[Raw]:
        raws = []
        for ask, request in lane:
            await asyncio.sleep(start + ask.at_s - time.perf_counter())
            raws.append(await _stream(target, ask, request, start))
        return raws

    return [raw for raws in await asyncio.gather(*map(run, heads)) for raw in raws]


async def _stream(target: Target, ask: Ask, request: bytes, start: float) -> Raw:
    raw = Raw(ask, time.perf_counter() - start, [])
    if await exchange(target, request, raw.pieces, start) != 200:
        raise BadAnswer(b"".join(piece for _, piece in raw.pieces).decode(errors="replace"))
    return raw


def read(raw: Raw, dialect: Dialect) -> Streamed:
    """Raises BadAnswer."""
    answer = Streamed(len(raw.ask.prompt), raw.sent_s, [], [])
    for when, name, data in events(raw.pieces):
        token_ids = dialect.tokens(name, data)
        answer.token_ids.extend(token_ids)
        answer.arrived_s.extend([when] * len(token_ids))
    if len(answer.token_ids) != raw.ask.num_new:
        raise BadAnswer(f"a stream ended after {len(answer.token_ids)} of {raw.ask.num_new} tokens")
    return answer
