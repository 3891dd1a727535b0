"""What a round of requests measures, and the figures drawn from it."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts that are all asked at the same moment, and how many tokens each is continued by."""

    prompts: list[list[int]]
    num_new: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request got: its tokens, and when each arrived, in seconds from the start of the round.

    num_drafted, num_accepted: tokens that were proposed for it, and those of them it kept; 0 where nobody counts them.
    """

    token_ids: list[int]
    arrived_s: list[float]
    num_drafted: int = 0
    num_accepted: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """tokens_per_s: of all requests together. first_*: from the start of the round to a request's first token.
    between_*: between two tokens of a request. p50 is the median, p99 what 99 of 100 stay below."""

    tokens_per_s: float
    first_p50_ms: float
    first_p99_ms: float
    between_p50_ms: float
    between_p99_ms: float

    @classmethod
    def of_round(cls, answers: Sequence[Answer]) -> Self:
        first = [answer.arrived_s[0] for answer in answers]
        between = [
            later - earlier
            for answer in answers
            for earlier, later in zip(answer.arrived_s, answer.arrived_s[1:], strict=False)
        ]
        spread = (quantile(values, share) * 1e3 for values in (first, between) for share in (0.5, 0.99))
        return cls(tokens_per_s(answers), *spread)

    @classmethod
    def median_of(cls, rounds: Iterable[Self]) -> Self:
        """The median of each figure by itself."""
        return cls(*(median(values) for values in zip(*(astuple(one) for one in rounds), strict=True)))

    def over(self, other: Self) -> list[float]:
        """Each figure divided by that of `other`; nan where there is nothing to divide by."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return [mine / theirs if theirs else math.nan for mine, theirs in pairs]


FIGURE_NAMES = [field.name for field in fields(Figures)]


def draw_ids(draw: random.Random, num_tokens: int, vocab_size: int) -> list[int]:
    """Random tokens without the first tenth of the vocabulary, where special tokens mostly are."""
    return [draw.randrange(vocab_size // 10, vocab_size) for _ in range(num_tokens)]


def tokens_per_s(answers: Sequence[Answer]) -> float:
    """Of all requests of a round together, from its start to the last token."""
    return sum(len(answer.token_ids) for answer in answers) / max(answer.arrived_s[-1] for answer in answers)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed; 0 of none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


def num_equal(left: Sequence[Answer], right: Sequence[Answer]) -> int:
    """How many requests got the same tokens from both."""
    return sum(a.token_ids == b.token_ids for a, b in zip(left, right, strict=True))
