"""What one decoding mode gave on each side, over all its rounds, and the tables that tell it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from beamhouse.server.command.bench.modes import Mode
from benchmarks.cases.answers import Answer, num_equal, tokens_per_s
from benchmarks.cases.modes import Request, check_lengths
from benchmarks.library.in_process import Library
from benchmarks.report.tables import markdown

Served = Callable[[Sequence[Request]], list[Answer]]
ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Round:
    """The answers to the same requests: of the server, of `generate()` one by one and as one batch, and of the server
    when asked for plain greedy search. None: was not asked."""

    served: list[Answer]
    one_by_one: list[Answer] | None
    as_batch: list[Answer] | None
    greedy: list[Answer] | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rates are tokens per second, medians of the rounds; the counts are over all rounds.

    served: the server. one_by_one, as_batch: `generate()`. greedy: the server without drafts, for modes that draft.
    """

    mode: str
    num_requests: int
    served: float
    one_by_one: float | None
    as_batch: float | None
    greedy: float | None
    num_answers: int
    num_equal: int
    num_tokens: int
    num_drafted: int
    num_accepted: int

    @property
    def ratio(self) -> float | None:
        """How many times as fast as `generate()` the server is."""
        return self.served / self.one_by_one if self.one_by_one else None

    @property
    def acceptance(self) -> float:
        """The share of the drafted tokens that were kept; nan of none."""
        return self.num_accepted / self.num_drafted if self.num_drafted else math.nan

    @property
    def draft_cost(self) -> float:
        """What a drafted token costs, its check included, in steps of plain greedy search; nan without drafts.

        With T tokens, D drafted and A accepted there were T - A steps of the model, and what the time exceeds those by
        went into D drafted tokens. An accepted token saves one step, so the cost is also the acceptance from which on
        drafting is faster than not drafting.
        """
        if not self.num_drafted or self.greedy is None:
            return math.nan
        time = self.num_tokens * self.greedy / self.served  # in steps of greedy search, one a token
        return (time - (self.num_tokens - self.num_accepted)) / self.num_drafted


def compare(mode: Mode, rounds: Sequence[list[Request]], served: Served, library: Library | None) -> Comparison:
    """The sides take turns in each round; the first round warms up and is not counted."""
    warm_up, *measured = rounds
    served(warm_up)
    if library:
        library.one_by_one(warm_up[:1])
    done = [run_round(mode, requests, served, library) for requests in measured]
    ours = [answer for one in done for answer in one.served]
    return Comparison(
        mode=mode.name,
        num_requests=len(warm_up),
        served=median(tokens_per_s(one.served) for one in done),
        one_by_one=median_rate(one.one_by_one for one in done),
        as_batch=median_rate(one.as_batch for one in done),
        greedy=median_rate(one.greedy for one in done),
        num_answers=len(ours),
        num_equal=sum(num_equal(one.served, one.one_by_one) for one in done if one.one_by_one),
        num_tokens=sum(len(answer.token_ids) for answer in ours),
        num_drafted=sum(answer.num_drafted for answer in ours),
        num_accepted=sum(answer.num_accepted for answer in ours),
    )


def run_round(mode: Mode, requests: list[Request], served: Served, library: Library | None) -> Round:
    """Raises EndedEarly. The library drafts for a batch of one only."""

    def asked(side: str, of: Callable[[Sequence[Request]], list[Answer]], asked: list[Request]) -> list[Answer]:
        answers = of(asked)
        check_lengths(side, asked, answers)
        return answers

    is_batch = len(requests) > 1 and not mode.is_drafting
    return Round(
        asked("the server", served, requests),
        asked("generate()", library.one_by_one, requests) if library else None,
        asked("generate() of a batch", library.as_batch, requests) if library and is_batch else None,
        asked("the server", served, [request.as_greedy() for request in requests]) if mode.is_drafting else None,
    )


def median_rate(rounds: Iterable[list[Answer] | None]) -> float | None:
    rates = [tokens_per_s(answers) for answers in rounds if answers is not None]
    return median(rates) if rates else None


def mode_table(compared: Sequence[Comparison]) -> str:
    """Tokens per second of each mode and number of requests at once."""
    heads = ["mode", "requests", "server", "generate()", "ratio", "generate(), one batch", "same tokens"]
    rows = [
        [
            row.mode,
            str(row.num_requests),
            f"{row.served:.1f}",
            ABSENT if row.one_by_one is None else f"{row.one_by_one:.1f}",
            ABSENT if row.ratio is None else f"{row.ratio:.2f} x",
            ABSENT if row.as_batch is None else f"{row.as_batch:.1f}",
            ABSENT if row.one_by_one is None else f"{row.num_equal}/{row.num_answers}",
        ]
        for row in compared
    ]
    return markdown([heads, *rows], names=1)


def draft_table(compared: Sequence[Comparison]) -> str:
    """The server with drafts beside itself without, and the acceptance from which on drafts pay; empty without any."""
    heads = ["drafts by", "requests", "greedy", "assisted", "ratio", "drafted", "accepted", "acceptance", "needed"]
    rows = [
        [
            row.mode,
            str(row.num_requests),
            f"{row.greedy:.1f}",
            f"{row.served:.1f}",
            f"{row.served / row.greedy:.2f} x",
            str(row.num_drafted),
            str(row.num_accepted),
            f"{row.acceptance:.0%}" if row.num_drafted else ABSENT,
            f"{row.draft_cost:.0%}" if row.num_drafted else ABSENT,
        ]
        for row in compared
        if row.greedy is not None
    ]
    return markdown([heads, *rows], names=1) if rows else ""
