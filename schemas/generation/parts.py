"""Types of generation fields that hold more than a number: constraints, watermarks, biases, options of the cache."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, JsonValue, Strict, Tag
from pydantic_core import PydanticCustomError

from beamhouse.schemas.generation.bounds import (
    MAX_LAYERS,
    MAX_PHRASES,
    AtLeastOne,
    AtLeastZero,
    Bias,
    Name,
    Phrase,
    Phrases,
    TokenId,
)
from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig, WatermarkingConfig
from beamhouse.schemas.words import ProblemCode

PART = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class PhrasalConstraint(BaseModel):
    """The output must hold this phrase."""

    model_config = PART

    type: Literal["phrasal"] = "phrasal"
    """Which kind of constraint this is."""
    token_ids: Phrase
    """The phrase."""


class DisjunctiveConstraint(BaseModel):
    """The output must hold one of these phrases."""

    model_config = PART

    type: Literal["disjunctive"] = "disjunctive"
    """Which kind of constraint this is."""
    nested_token_ids: Phrases
    """The phrases to choose from."""


class OrderedConstraint(BaseModel):
    """The output must hold these phrases in this order, with anything between them."""

    model_config = PART

    type: Literal["ordered"] = "ordered"
    """Which kind of constraint this is."""
    phrases: Phrases
    """The phrases, the first one first."""


class CacheConfig(BaseModel):
    """Options of the cache that `cache_implementation` names."""

    model_config = PART

    backend: Literal["quanto", "HQQ", "hqq", "fp8"] | None = None
    """Quantizer of the cache."""
    nbits: Literal[1, 2, 3, 4, 8] | None = None
    """Bits of a quantized value."""
    axis_key: Literal[0, 1, -1] | None = None
    """Axis along which keys are grouped."""
    axis_value: Literal[0, 1, -1] | None = None
    """Axis along which values are grouped."""
    q_group_size: AtLeastOne | None = None
    """Elements of a quantization group."""
    residual_length: AtLeastZero | None = None
    """Newest positions kept in full precision."""
    compute_dtype: str | None = None
    """Type that values are expanded to."""
    device: str | None = None
    """Where the quantizer runs."""
    batch_size: AtLeastOne | None = None
    """Rows of a static cache."""
    max_cache_len: AtLeastOne | None = None
    """Positions of a static cache."""


class CompileConfig(BaseModel):
    """Options of `torch.compile` for the decoding forward pass."""

    model_config = PART

    fullgraph: bool | None = None
    """Demand one graph."""
    dynamic: bool | None = None
    """Compile for changing shapes."""
    backend: str | None = None
    """Name of the compiler."""
    mode: str | None = None
    """Named set of compiler options."""
    options: dict[str, JsonValue] | None = None
    """Options of the compiler itself."""


def _refuse_zero(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and value == 0:
        raise PydanticCustomError(
            ProblemCode.OUT_OF_RANGE,
            "temperature is 0; allowed: 1e-06 <= temperature <= 1000000; for greedy, set do_sample=false",
        )
    return value


def _list_form(value: Any) -> Any:
    """Turn `{(5, 7): -1.0}` into `[[[5, 7], -1.0]]`; a file written by the library has the keys as text, `"(5, 7)"`."""
    if not isinstance(value, dict):
        return value
    return [[_key_ids(key), bias] for key, bias in value.items()]


def _key_ids(key: Any) -> Any:
    if isinstance(key, tuple):
        return list(key)
    if isinstance(key, str) and key.startswith("(") and key.endswith(")"):
        pieces = [piece.strip() for piece in key[1:-1].removesuffix(",").split(",")]
        if all(piece.isascii() and piece.isdecimal() and len(piece) < 11 for piece in pieces):
            return [int(piece) for piece in pieces]
    return key


def _watermark_kind(value: Any) -> str:
    if isinstance(value, str):
        return "profile"
    if isinstance(value, SynthIDTextWatermarkingConfig) or (isinstance(value, dict) and "ngram_len" in value):
        return "synthid"
    return "greenlist"


Temperature = Annotated[float, Field(ge=1e-6, le=1e6), BeforeValidator(_refuse_zero)]
BiasedSequence = Annotated[tuple[Phrase, Bias], Strict(False)]
SequenceBias = Annotated[
    list[BiasedSequence], Field(fail_fast=True, min_length=1, max_length=MAX_PHRASES), BeforeValidator(_list_form)
]
Decay = Annotated[tuple[AtLeastZero, Annotated[float, Field(ge=1e-2, le=1e2)]], Strict(False)]
ForcedPair = Annotated[tuple[AtLeastZero, TokenId | None], Strict(False)]
Layers = Annotated[
    list[Annotated[int, Field(ge=0, le=MAX_LAYERS)]], Field(fail_fast=True, min_length=1, max_length=MAX_LAYERS)
]
AnyConstraint = Annotated[PhrasalConstraint | DisjunctiveConstraint | OrderedConstraint, Field(discriminator="type")]
Watermark = Annotated[
    Annotated[WatermarkingConfig, Tag("greenlist")]
    | Annotated[SynthIDTextWatermarkingConfig, Tag("synthid")]
    | Annotated[Name, Tag("profile")],
    Discriminator(_watermark_kind),
]
CacheImplementation = Literal[
    "dynamic",
    "static",
    "offloaded",
    "offloaded_static",
    "quantized",
    "paged",
    "sliding_window",
    "hybrid",
    "hybrid_chunked",
    "offloaded_hybrid",
    "offloaded_hybrid_chunked",
    "mamba",
]
