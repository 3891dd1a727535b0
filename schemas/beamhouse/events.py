"""The events of a stream before its last. Fields nobody asked for are absent.

They are written once for every token and never read here, so they are plain structures that one call encodes.
"""

import msgspec


class TopTokenEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One of the likeliest tokens of a position; a logprob of minus infinity is written as null."""

    token_id: int
    text: str | None = None
    logprob: float


class TokenEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One token of one sequence; its text may be empty while a character is incomplete."""

    sequence: int
    index: int
    token_id: int
    text: str | None = None
    score: float | None = None
    top_tokens: list[TopTokenEvent] | None = None


class TokensEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Several tokens of one sequence that became final together; `index` is that of the first."""

    sequence: int
    index: int
    token_ids: list[int]
    text: str | None = None
    scores: list[float | None] | None = None
    top_tokens: list[list[TopTokenEvent]] | None = None


class HypothesisEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A live hypothesis of a beam search; `score` is the one it would have if it ended now."""

    text: str | None = None
    token_ids: list[int]
    score: float


class ProgressEvent(msgspec.Struct, frozen=True):
    """How a beam search stands after a step, the best hypothesis first."""

    prompt_index: int
    hypotheses: list[HypothesisEvent]
