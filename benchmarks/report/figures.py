"""The figures of one run of a load on one server, from the times at which its tokens arrived."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Self

from beamhouse.server.command.bench.figures import first_waits, gaps
from beamhouse.server.command.bench.quantiles import quantile
from benchmarks.serving.wire import Streamed

MIN_WINDOW_TOKENS = 4
"""A window with fewer tokens of each stream gives no rate."""


@dataclass(frozen=True, slots=True)
class Figures:
    """tokens_per_s: new tokens of the whole run, waits and prompts included. prompt_per_s: prompt tokens until the last
    first token. decode_per_s: while all streams ran and none waited for a first token. first_*: from a request to its
    first token. between_*: between two tokens of a request. None: the load does not show it."""

    tokens_per_s: float
    prompt_per_s: float
    decode_per_s: float | None
    first_p50_ms: float
    first_p99_ms: float
    between_p50_ms: float | None
    between_p99_ms: float | None

    @classmethod
    def of(cls, answers: Sequence[Streamed], num_lanes: int) -> Self:
        start = min(answer.sent_s for answer in answers)
        first, between = first_waits(answers), gaps(answers)
        num_new, num_prompt = sum(len(a.arrived_s) for a in answers), sum(a.num_prompt for a in answers)
        return cls(
            tokens_per_s=num_new / (max(answer.arrived_s[-1] for answer in answers) - start),
            prompt_per_s=num_prompt / (max(answer.arrived_s[0] for answer in answers) - start),
            decode_per_s=decode_rate(answers, num_lanes),
            first_p50_ms=quantile(first, 0.5) * 1e3,
            first_p99_ms=quantile(first, 0.99) * 1e3,
            between_p50_ms=quantile(between, 0.5) * 1e3 if between else None,
            between_p99_ms=quantile(between, 0.99) * 1e3 if between else None,
        )

    @classmethod
    def median_of(cls, runs: Iterable[Self]) -> Self:
        """The median of each figure by itself; None where no run has it."""
        columns = [[getattr(run, field.name) for run in runs] for runs in [list(runs)] for field in fields(cls)]
        known = [[value for value in column if value is not None] for column in columns]
        return cls(*(median(column) if column else None for column in known))  # type: ignore[arg-type]  # as declared


def decode_rate(answers: Sequence[Streamed], num_lanes: int) -> float | None:
    """Tokens a second from when the last of the first `num_lanes` answers began until one of them ended.

    Afterwards prompts of the next wave take part of the steps. None where that window is too short to tell.
    """
    wave = sorted(answers, key=lambda answer: answer.sent_s)[:num_lanes]
    begin, end = max(answer.arrived_s[0] for answer in wave), min(answer.arrived_s[-1] for answer in wave)
    num_tokens = sum(begin < when <= end for answer in wave for when in answer.arrived_s)
    return num_tokens / (end - begin) if num_tokens >= MIN_WINDOW_TOKENS * num_lanes else None
