"""The events of a stream, each with the name it was sent under.

Made from the server's own words by `python -m benchmarks.house.client_shapes`; not to be edited.
"""

from typing import Literal, NotRequired, TypedDict

from beamhouse.client.shapes.answers import Answer


class TopTokenEvent(TypedDict):
    """One of the likeliest tokens of a position; a logprob of minus infinity is written as null."""

    token_id: int
    text: NotRequired[str | None]
    logprob: float


class TokenEvent(TypedDict):
    """One token of one sequence; its text may be empty while a character is incomplete."""

    event: Literal["token"]
    sequence: int
    index: int
    token_id: int
    text: NotRequired[str | None]
    score: NotRequired[float | None]
    top_tokens: NotRequired[list[TopTokenEvent] | None]


class TokensEvent(TypedDict):
    """Several tokens of one sequence that became final together; `index` is that of the first."""

    event: Literal["tokens"]
    sequence: int
    index: int
    token_ids: list[int]
    text: NotRequired[str | None]
    scores: NotRequired[list[float | None] | None]
    top_tokens: NotRequired[list[list[TopTokenEvent]] | None]


class HypothesisEvent(TypedDict):
    """A live hypothesis of a beam search; `score` is the one it would have if it ended now."""

    text: NotRequired[str | None]
    token_ids: list[int]
    score: float


class ProgressEvent(TypedDict):
    """How a beam search stands after a step, the best hypothesis first."""

    event: Literal["progress"]
    prompt_index: int
    hypotheses: list[HypothesisEvent]


class DoneEvent(TypedDict):
    """The end of a stream: the whole answer."""

    event: Literal["done"]
    answer: Answer


Event = TokenEvent | TokensEvent | ProgressEvent | DoneEvent
