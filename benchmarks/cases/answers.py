"""The answers to a round of requests, and what their tokens count."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request got: its tokens, and when each arrived, in seconds from the start of the round.

    num_drafted, num_accepted: tokens that were proposed for it, and those of them it kept; 0 where nobody counts them.
    """

    token_ids: list[int]
    arrived_s: list[float]
    num_drafted: int = 0
    num_accepted: int = 0


def tokens_per_s(answers: Sequence[Answer]) -> float:
    """Of all requests of a round together, from its start to the last token."""
    return sum(len(answer.token_ids) for answer in answers) / max(answer.arrived_s[-1] for answer in answers)


def num_equal(left: Sequence[Answer], right: Sequence[Answer]) -> int:
    """How many requests got the same tokens from both."""
    return sum(a.token_ids == b.token_ids for a, b in zip(left, right, strict=True))
