"""What `POST /generate` answers; the last event of a stream holds the same. Fields nobody asked for are absent."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from beamhouse.schemas.words import FinishType


class AnswerPart(BaseModel):
    """Base of all parts of an answer."""

    model_config = ConfigDict(protected_namespaces=())


class FinishReasonAnswer(AnswerPart):
    """Why a sequence ended."""

    model_config = ConfigDict(from_attributes=True)

    type: FinishType
    token_id: int | None = None
    stop_string: str | None = None
    name: str | None = None


class TopTokenAnswer(AnswerPart):
    """One of the likeliest tokens of a position."""

    token_id: int
    text: str | None = None
    logprob: float | None = Field(description="Null stands for minus infinity.")


class SequenceAnswer(AnswerPart):
    """One sequence: its generated tokens, the end token included, and their text.

    `score` and `beam_indices` come with the modes that search with beams.
    """

    prompt_index: int
    index: int
    text: str | None = None
    token_ids: list[int]
    num_tokens: int
    finish_reason: FinishReasonAnswer
    score: float | None = Field(
        default=None, description="`sequences_scores`: sum of log-probabilities by length to `length_penalty`."
    )
    beam_indices: list[int] | None = Field(
        default=None, description="For each token the row of its step, among all beams, that it was chosen from."
    )
    transition_scores: list[float | None] | None = Field(default=None, description="Null stands for minus infinity.")
    top_tokens: list[list[TopTokenAnswer]] | None = None
    watermark_flags: list[bool | None] | None = Field(
        default=None, description="Whether each token speaks for the watermark; null where it was chosen without."
    )


class Usage(AnswerPart):
    """Counts over all prompts and sequences of the request."""

    prompt_tokens: int
    generated_tokens: int
    cached_prompt_tokens: int
    drafted_tokens: int = Field(default=0, description="Proposed by assisted decoding.")
    accepted_tokens: int = Field(default=0, description="Those of them that the model confirmed.")


class TimingsAnswer(AnswerPart):
    """Seconds; of several prompts, the longest of each."""

    queue_s: float
    prefill_s: float
    decode_s: float
    total_s: float


class Answer(AnswerPart):
    """Everything a request produced. `sequences` is flat: the rows of one prompt are adjacent, best first."""

    id: str
    model: str
    mode: str
    generated_text: str | None = Field(default=None, description="Text of the first sequence.")
    sequences: list[SequenceAnswer]
    usage: Usage
    timings: TimingsAnswer
    warnings: list[str] = []
    prompt_logprobs: list[list[float | None]] | None = Field(
        default=None, description="For each prompt one value per token; null for the first, which nothing precedes."
    )
    prompt_top_tokens: list[list[list[TopTokenAnswer] | None]] | None = Field(
        default=None,
        description="For each prompt the likeliest tokens at each position, best first; null for the first.",
    )
    generation_config: dict[str, Any] | None = None
    tensors: dict[str, Any] | None = Field(
        default=None,
        description="By name, as nested lists (`NaN` is null, infinities are `Infinity` and `-Infinity` as text) or as "
        '{"dtype", "shape", "data"} with base64 bytes. With several prompts, names begin with `prompt.<index>.`.',
    )
