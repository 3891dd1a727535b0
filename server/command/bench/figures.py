"""The figures of a load, from the times at which its tokens arrived."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from beamhouse.server.command.bench.load import Streamed
from beamhouse.server.command.bench.quantiles import quantile


class Arrived(Protocol):
    """When something was asked, and when each of its tokens came, in seconds."""

    @property
    def sent_s(self) -> float: ...
    @property
    def arrived_s(self) -> Sequence[float]: ...


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds that half of all, nine of ten and 99 of 100 do not exceed."""

    p50_ms: float
    p90_ms: float
    p99_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Spread | None":
        """None of nothing."""
        return cls(*(quantile(seconds, share) * 1e3 for share in (0.5, 0.9, 0.99))) if seconds else None


@dataclass(frozen=True, slots=True)
class Figures:
    """One mode at one door. first: from a request to its first token. between: two tokens of a request.

    whole: from a request to its end. Failed requests count in `errors` alone, by their reason.
    """

    door: str
    mode: str
    requests: int
    errors: dict[str, int]
    tokens: int
    seconds: float
    tokens_per_s: float
    first: Spread | None
    between: Spread | None
    whole: Spread | None

    @classmethod
    def of(cls, door: str, mode: str, answers: Sequence[Streamed]) -> "Figures":
        good = [answer for answer in answers if answer.failure is None]
        seconds = max((answer.ended_s for answer in answers), default=0.0)
        tokens = sum(answer.num_tokens for answer in good)
        return cls(
            door=door,
            mode=mode,
            requests=len(answers),
            errors=dict(Counter(answer.failure for answer in answers if answer.failure is not None)),
            tokens=tokens,
            seconds=seconds,
            tokens_per_s=tokens / seconds if seconds else 0.0,
            first=Spread.of(first_waits(good)),
            between=Spread.of(gaps(good)),
            whole=Spread.of([answer.ended_s - answer.sent_s for answer in good]),
        )


def first_waits(answers: Sequence[Arrived]) -> list[float]:
    """From each request to its first token; of answers that show none there is none."""
    return [answer.arrived_s[0] - answer.sent_s for answer in answers if answer.arrived_s]


def gaps(answers: Sequence[Arrived]) -> list[float]:
    """Between two tokens of a request; those that came in one piece have none between them."""
    return [later - earlier for answer in answers for earlier, later in pairwise(answer.arrived_s)]
