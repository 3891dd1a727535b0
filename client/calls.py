"""What each call sends, and which answer it gets; both clients speak with these."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from beamhouse.client.shapes.answers import (
    Answer,
    DetectAnswer,
    DetokenizeAnswer,
    ScoreAnswer,
    TokenizeAnswer,
    TransitionScoresAnswer,
)
from beamhouse.client.shapes.fields import (
    DetectFields,
    DetectInputs,
    DetokenizeFields,
    DetokenizeTokenIds,
    GenerateFields,
    GenerateInputs,
    ScoreFields,
    ScorePairs,
    TokenizeFields,
    TokenizeInputs,
    TransitionScoresFields,
    TransitionScoresScores,
    TransitionScoresSequences,
    ValidateFields,
    ValidateGenerationConfig,
)
from beamhouse.client.shapes.service import DefaultsAnswer, Health, SharedInfo, ValidateAnswer
from beamhouse.client.wire import without_nulls

T = TypeVar("T")
BINARY = "safetensors"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request whose answer has the shape T. answers: the statuses that bring it."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    answers: frozenset[int] = frozenset({200})


INFO: Call[SharedInfo] = Call("GET", "/info")
HEALTH: Call[Health] = Call("GET", "/health", answers=frozenset({200, 503}))
DEFAULTS: Call[DefaultsAnswer] = Call("GET", "/generation_config")


def generate(inputs: GenerateInputs | None, fields: GenerateFields) -> Call[Answer]:
    if (fields.get("outputs") or {}).get("tensors") == BINARY:
        raise ValueError(f"tensors as {BINARY} are no JSON: generate_{BINARY} returns them")
    return _posted("/generate", fields, inputs=inputs, stream=False)


def generate_safetensors(inputs: GenerateInputs | None, fields: GenerateFields) -> Call[bytes]:
    outputs = {**(fields.get("outputs") or {}), "tensors": BINARY}
    return Call("POST", "/generate", without_nulls({**fields, "inputs": inputs, "outputs": outputs, "stream": False}))


def stream(inputs: GenerateInputs | None, fields: GenerateFields) -> Call[None]:
    return _posted("/generate", fields, inputs=inputs, stream=True)


def score(pairs: ScorePairs, fields: ScoreFields) -> Call[ScoreAnswer]:
    return _posted("/score", fields, pairs=pairs)


def tokenize(inputs: TokenizeInputs | None, fields: TokenizeFields) -> Call[TokenizeAnswer]:
    return _posted("/tokenize", fields, inputs=inputs)


def detokenize(token_ids: DetokenizeTokenIds, fields: DetokenizeFields) -> Call[DetokenizeAnswer]:
    return _posted("/detokenize", fields, token_ids=token_ids)


def detect_watermark(inputs: DetectInputs, fields: DetectFields) -> Call[DetectAnswer]:
    return _posted("/watermark/detect", fields, inputs=inputs)


def validate(config: ValidateGenerationConfig, fields: ValidateFields) -> Call[ValidateAnswer]:
    return _posted("/generation_config/validate", fields, generation_config=config)


def compute_transition_scores(
    sequences: TransitionScoresSequences, scores: TransitionScoresScores, fields: TransitionScoresFields
) -> Call[TransitionScoresAnswer]:
    return _posted("/compute_transition_scores", fields, sequences=sequences, scores=scores)


def _posted(path: str, fields: Mapping[str, Any], **leading: Any) -> Call[Any]:
    """The fields of a body, those with a place of their own in the call among them."""
    return Call("POST", path, without_nulls({**leading, **fields}))
