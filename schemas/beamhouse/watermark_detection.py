"""Body and answer of `/watermark/detect`."""

from pydantic import BaseModel, Field

from beamhouse.schemas.beamhouse.body import Body, Inputs
from beamhouse.schemas.generation.parts import Watermark


class DetectRequest(Body):
    """Texts, and the watermark to look for. A prompt that is not marked is best left out.

    Texts are turned into tokens without special ones; of token ids a start token in front is not looked at.
    """

    inputs: Inputs = Field(description="Text, texts, token ids or lists of them.")
    watermarking_config: Watermark | None = Field(
        default=None,
        description="As in generation: an object, or the name of a watermark the server keeps. Not set: the one that "
        "marks silent requests.",
    )
    z_threshold: float | None = Field(
        default=None, ge=-1e6, le=1e6, description="Green lists: a larger z-score counts as marked; 3.0 if not set."
    )
    threshold: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="SynthID with a trained detector: a larger posterior counts as marked; 0.5 if not set.",
    )
    ignore_repeated_ngrams: bool = Field(
        default=False, description="Green lists: count a token with its context once. SynthID always does."
    )
    return_flags: bool = Field(default=False, description="Say of each token whether it speaks for the mark.")


class Detection(BaseModel):
    """What was found in one text. Which fields there are depends on the watermark."""

    num_tokens: int
    num_tokens_scored: int
    num_green_tokens: int | None = None
    green_fraction: float | None = None
    z_score: float | None = Field(default=None, description="Standard deviations above what chance gives.")
    p_value: float | None = Field(default=None, description="Probability of such a z-score by chance.")
    confidence: float | None = Field(default=None, description="1 - p_value.")
    mean: float | None = Field(default=None, description="Mean g-value of SynthID; 0.5 by chance.")
    weighted_mean: float | None = Field(default=None, description="The same, the first layers weighing most.")
    posterior: float | None = Field(default=None, description="Of the trained detector.")
    prediction: bool | None = Field(default=None, description="Absent for SynthID without a trained detector.")
    flags: list[bool | None] | None = Field(
        default=None, description="One per token, in order; null where it was not scored."
    )


class DetectAnswer(BaseModel):
    """The findings, one per input, in order."""

    model: str
    watermark: str | None = Field(default=None, description="Name of the server's watermark that was looked for.")
    detections: list[Detection]
