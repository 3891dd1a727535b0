"""Bodies and answers of `/score` and `/compute_transition_scores`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from beamhouse.schemas.beamhouse.answers import Usage
from beamhouse.schemas.beamhouse.body import MAX_LISTED, AnyTokenIds, Body, CacheSalt, Deadline, Priority, TextOrIds


class ScorePair(Body):
    """A prompt (null: `bos_token_id`) and what may follow it. Texts are turned into tokens apart from each other."""

    prompt: TextOrIds | None = None
    continuation: TextOrIds


class ScoreRequest(Body):
    """Pairs to score, each by itself."""

    pairs: Annotated[list[ScorePair], Field(min_length=1, max_length=MAX_LISTED)]
    priority: Priority = None
    deadline_s: Deadline = None
    cache_salt: CacheSalt = None


class ContinuationScore(BaseModel):
    """Log-probabilities of the continuation's tokens, each given all before it."""

    prompt_tokens: int
    token_ids: list[int]
    logprobs: list[float | None] = Field(description="Null stands for minus infinity.")
    sum: float | None = Field(description="Null stands for minus infinity.")


class ScoreAnswer(BaseModel):
    """The scores of all pairs, in order."""

    id: str
    model: str
    scores: list[ContinuationScore]
    usage: Usage


class Base64Tensor(Body):
    """A tensor of steps x rows x vocabulary as row-major little-endian bytes."""

    dtype: Literal["float32", "float16", "bfloat16"]
    shape: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=3, max_length=3)]
    data: str


BeamIndices = Annotated[list[Annotated[int, Field(ge=-1, lt=2**31)]], Field(fail_fast=True)]


class TransitionScoresRequest(Body):
    """The arguments of the library's function.

    sequences: prompt and generated ids of each row, of one length. scores: steps x rows x vocabulary, as nested lists
    (`null` is NaN, `"-Infinity"` an excluded token) or as a base64 tensor. beam_indices: as the library returns them,
    -1 past the end of a beam.
    """

    sequences: Annotated[list[AnyTokenIds], Field(fail_fast=True, min_length=1, max_length=MAX_LISTED)]
    scores: list[Any] | Base64Tensor = Field(union_mode="left_to_right")
    beam_indices: Annotated[list[BeamIndices], Field(fail_fast=True)] | None = None
    normalize_logits: bool = False


class TransitionScoresAnswer(BaseModel):
    """What the library's function returns."""

    transition_scores: list[list[float | str | None]] = Field(
        description="One row per sequence, one value per generated token; `NaN` is null, infinities are text."
    )
