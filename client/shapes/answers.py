"""What a server answers to what was asked.

Made from the server's own words by `python -m benchmarks.house.client_shapes`; not to be edited.
"""

from typing import Any, Literal, NotRequired, TypedDict

FinishType = Literal["eos_token", "stop_string", "length", "time", "stopping_criterion", "error"]


class FinishReasonAnswer(TypedDict):
    """Why a sequence ended."""

    type: FinishType
    token_id: NotRequired[int | None]
    stop_string: NotRequired[str | None]
    name: NotRequired[str | None]


class TopTokenAnswer(TypedDict):
    """One of the likeliest tokens of a position."""

    token_id: int
    text: NotRequired[str | None]
    logprob: float | None


class SequenceAnswer(TypedDict):
    """One sequence: its generated tokens, the end token included, and their text."""

    prompt_index: int
    index: int
    text: NotRequired[str | None]
    token_ids: list[int]
    num_tokens: int
    finish_reason: FinishReasonAnswer
    score: NotRequired[float | None]
    beam_indices: NotRequired[list[int] | None]
    transition_scores: NotRequired[list[float | None] | None]
    top_tokens: NotRequired[list[list[TopTokenAnswer]] | None]
    watermark_flags: NotRequired[list[bool | None] | None]


class Usage(TypedDict):
    """Counts over all prompts and sequences of the request."""

    prompt_tokens: int
    generated_tokens: int
    cached_prompt_tokens: int
    drafted_tokens: NotRequired[int]
    accepted_tokens: NotRequired[int]


class TimingsAnswer(TypedDict):
    """Seconds; of several prompts, the longest of each."""

    queue_s: float
    prefill_s: float
    decode_s: float
    total_s: float


class Answer(TypedDict):
    """Everything a request produced. `sequences` is flat: the rows of one prompt are adjacent, best first."""

    id: str
    model: str
    mode: str
    generated_text: NotRequired[str | None]
    sequences: list[SequenceAnswer]
    usage: Usage
    timings: TimingsAnswer
    warnings: NotRequired[list[str]]
    prompt_logprobs: NotRequired[list[list[float | None]] | None]
    prompt_top_tokens: NotRequired[list[list[list[TopTokenAnswer] | None]] | None]
    generation_config: NotRequired[dict[str, Any] | None]
    tensors: NotRequired[dict[str, Any] | None]


class ContinuationScore(TypedDict):
    """Log-probabilities of the continuation's tokens, each given all before it."""

    prompt_tokens: int
    token_ids: list[int]
    logprobs: list[float | None]
    sum: float | None


class ScoreAnswer(TypedDict):
    """The scores of all pairs, in order."""

    id: str
    model: str
    scores: list[ContinuationScore]
    usage: Usage


class TokenizedText(TypedDict):
    """The tokens of one text."""

    token_ids: list[int]
    tokens: list[str]
    num_tokens: int


class TokenizeAnswer(TypedDict):
    """The tokens of every text, in order."""

    sequences: list[TokenizedText]


class DetokenizeAnswer(TypedDict):
    """The text of every list, in order."""

    texts: list[str]


class Detection(TypedDict):
    """What was found in one text. Which fields there are depends on the watermark."""

    num_tokens: int
    num_tokens_scored: int
    num_green_tokens: NotRequired[int | None]
    green_fraction: NotRequired[float | None]
    z_score: NotRequired[float | None]
    p_value: NotRequired[float | None]
    confidence: NotRequired[float | None]
    mean: NotRequired[float | None]
    weighted_mean: NotRequired[float | None]
    posterior: NotRequired[float | None]
    prediction: NotRequired[bool | None]
    flags: NotRequired[list[bool | None] | None]


class DetectAnswer(TypedDict):
    """The findings, one per input, in order."""

    model: str
    watermark: NotRequired[str | None]
    detections: list[Detection]


class TransitionScoresAnswer(TypedDict):
    """What the library's function returns."""

    transition_scores: list[list[float | str | None]]
