"""All that is written down twice, here and in `src/`: structures, constants and the numbers of enumerations.

The library tells its own (`src/layout.h`), and where one line differs it is not used.
"""

import ctypes
from collections.abc import Iterator
from ctypes import Structure, c_float, c_int32, c_int64, c_void_p
from enum import IntEnum
from typing import Any

PANEL = 64
"""Columns of a panel: `kPanel`."""
GROUP = 32
"""Inputs that share a scale in int4: `kNibbles`."""
SUB_BLOCK = 16
"""Positions that lie together in the cache: `kKeys`."""
MOST_SHARING = 56
"""Query heads that may share a key head: `kQueryRows`."""
MOST_SHUFFLED = 2**20
"""Entries of a shuffle whose swaps the kernels find: `kMostShuffled`."""


class Format(IntEnum):
    """How the numbers of a matrix lie."""

    FLOAT32 = 0
    BFLOAT16 = 1
    INT8 = 2
    INT4 = 3


class NormKind(IntEnum):
    RMS = 1
    RMS_WHOLE = 2
    LAYER_NORM = 3


class Activation(IntEnum):
    SILU = 0
    RELU = 1
    GELU = 2
    GELU_TANH = 3
    GELU_NEW = 4
    RELU_SQUARED = 5


class Pairing(IntEnum):
    """Which numbers of a head are turned together."""

    HALVES = 0
    NEIGHBOURS = 1
    NEIGHBOURS_WHOLE = 2


class Residual(IntEnum):
    """How the two branches of a layer join the stream."""

    IN_TURN = 0
    BRANCHES_FIRST = 1
    STREAM_FIRST = 2


class MatrixStruct(Structure):
    """`Matrix` of src/matrix.h."""

    _fields_ = (
        ("n", c_int64),
        ("k", c_int64),
        ("format", c_int32),
        ("data", c_void_p),
        ("scales", c_void_p),
        ("offsets", c_void_p),
        ("bias", c_void_p),
    )


class NormStruct(Structure):
    """`Norm` of src/norms.h."""

    _fields_ = (
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("size", c_int64),
        ("step", c_int64),
        ("eps", c_float),
        ("kind", c_int32),
    )


class RotaryStruct(Structure):
    """`Rotary` of src/rotary.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("cosines", "sines", "rows")),
        *((name, c_int64) for name in ("dim", "pairing")),
    )


class LayerStruct(Structure):
    """`Layer` of src/layers.h."""

    _fields_ = (
        *((name, MatrixStruct) for name in ("qkv", "out", "up", "down")),
        *(
            (name, NormStruct)
            for name in ("before_attention", "query", "key", "after_attention", "before_mlp", "after_mlp")
        ),
        ("rotary", c_int64),
        ("window", c_int64),
        ("scaling", c_float),
        ("cap", c_float),
    )


class ShapeStruct(Structure):
    """`Shape` of src/layers.h."""

    _fields_ = (
        *((name, c_int64) for name in ("hidden", "heads", "kv_heads", "head_dim", "head_step")),
        *((name, c_int64) for name in ("key_begin", "value_begin", "intermediate", "block")),
        *((name, c_int32) for name in ("residual", "activation", "is_gated")),
        *((name, c_float) for name in ("embedding_scale", "query_scale", "branch_scale")),
        *((name, c_float) for name in ("logit_scale", "logit_divisor", "logit_cap")),
        ("embedding", c_void_p),
        ("positions", c_void_p),
        ("norm", NormStruct),
        ("head", MatrixStruct),
    )


class CacheStruct(Structure):
    """`Cache` of src/decoder.h."""

    _fields_ = (("keys", c_void_p), ("values", c_void_p), ("layer_bytes", c_int64))


class FeedStruct(Structure):
    """`Feed` of src/attention.h. A step writes its feeds as one array of numbers in this order."""

    _fields_ = tuple((name, c_int32) for name in ("start", "count", "before", "table"))


class StepStruct(Structure):
    """`Step` of src/decoder.h."""

    _fields_ = (
        *((name, c_int64) for name in ("num_tokens", "num_feeds", "num_kept", "num_layers")),
        *((name, c_void_p) for name in ("token_ids", "positions", "feeds", "tables", "kept")),
        *((name, c_void_p) for name in ("rotaries", "query_scales", "logits", "hidden")),
    )


STRUCTURES = (
    MatrixStruct, NormStruct, RotaryStruct, LayerStruct, ShapeStruct, CacheStruct, FeedStruct, StepStruct,
)  # fmt: skip
ENUMERATIONS = (Format, NormKind, Activation, Pairing, Residual)


def difference(told: str) -> str:
    """The first thing that the library's own words and ours say differently; "" where they agree."""
    ours, theirs = dict(_lines()), dict(line.split(": ") for line in told.splitlines())
    for name in ours | theirs:
        if ours.get(name) != theirs.get(name):
            return f"{name} is {theirs.get(name, 'missing')} in the library and {ours.get(name, 'missing')} in Python"
    return ""


def _lines() -> Iterator[tuple[str, str]]:
    for structure in STRUCTURES:
        whole = structure.__name__.removesuffix("Struct")
        yield whole, str(ctypes.sizeof(structure))
        for name, kind, *_ in structure._fields_:
            field = getattr(structure, name)
            yield f"{whole}.{name}", f"{_letter(kind)}{field.size} at {field.offset}"
    yield from (("kPanel", str(PANEL)), ("kNibbles", str(GROUP)), ("kKeys", str(SUB_BLOCK)))
    yield from (("kQueryRows", str(MOST_SHARING)), ("kMostShuffled", str(MOST_SHUFFLED)))
    for enumeration in ENUMERATIONS:
        for member in enumeration:
            words = member.name.title().replace("_", "")
            yield f"{enumeration.__name__}::k{words}", str(int(member))


def _letter(kind: Any) -> str:  # Any: a type of ctypes
    """Of a whole number, a float, a pointer, or a structure."""
    if issubclass(kind, Structure):
        return "s"
    return {c_float: "f", c_void_p: "p"}.get(kind, "i")
