"""The compiled kernels as Python sees them: the structures and functions of `src/api.cpp`, and a team of threads."""

import ctypes
import logging
import weakref
from ctypes import POINTER, Structure, c_float, c_int32, c_int64, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from beamhouse.engine.native.compiler import NoKernels, kernels_file

logger = logging.getLogger(__name__)

FLOAT32, BFLOAT16, INT8, INT4 = 0, 1, 2, 3
FORMATS = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}
QUANTIZED = {"int8": INT8, "int4": INT4}


class MatrixStruct(Structure):
    """`Matrix` of src/matmul.h."""

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


class StepStruct(Structure):
    """`Step` of src/decoder.h."""

    _fields_ = (
        *((name, c_int64) for name in ("num_tokens", "num_feeds", "num_kept", "num_layers")),
        *((name, c_void_p) for name in ("token_ids", "positions", "feeds", "tables", "kept")),
        *((name, c_void_p) for name in ("rotaries", "query_scales", "logits", "hidden")),
    )


_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "bh_vector_bytes": (c_int64, ()),
    "bh_allocate": (c_void_p, (c_int64,)),
    "bh_release": (None, (c_void_p, c_int64)),
    "bh_team": (c_void_p, (c_int64,)),
    "bh_team_free": (None, (c_void_p,)),
    "bh_packed_bytes": (c_int64, (c_int64, c_int64, c_int32)),
    "bh_pack": (None, (c_void_p, POINTER(MatrixStruct), c_void_p, c_int32, c_int64, c_int64, c_int64)),
    "bh_linear": (
        None,
        (c_void_p, POINTER(MatrixStruct), c_int32, c_void_p, c_int64, c_int64, c_int64, c_int64, c_void_p),
    ),
    "bh_copy_blocks": (None, (POINTER(CacheStruct), c_int64, c_int64, c_void_p, c_int64)),
    "bh_stack": (c_void_p, (c_int32, POINTER(ShapeStruct), POINTER(LayerStruct), c_int64)),
    "bh_stack_free": (None, (c_void_p,)),
    "bh_forward": (None, (c_void_p, c_void_p, POINTER(CacheStruct), POINTER(StepStruct))),
    "bh_project": (None, (c_void_p, c_void_p, c_void_p, c_int64, c_void_p)),
    "bh_race": (c_int32, (c_void_p, c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_void_p)),
    "bh_keep_largest": (
        None,
        (c_void_p, c_void_p, c_int64, c_int64, c_void_p, c_int64, c_void_p, c_void_p),
    ),
    "bh_swaps": (None, (c_uint32, c_int64, c_int64, c_void_p)),
    "bh_sort": (None, (c_void_p, c_void_p, c_int64, c_int64, c_void_p, c_void_p)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """The functions and the threads they run on. variant: how they were compiled."""

    functions: Any  # Any: a ctypes library
    team: int
    variant: str
    num_threads: int


class Memory:
    """Zeroed memory in huge pages where the system grants them; given back when nothing refers to this any more."""

    def __init__(self, kernels: Kernels, num_bytes: int) -> None:
        # Whole huge pages, so that the next piece of memory begins with one too.
        size = -(-max(num_bytes, 1) // 2**21) * 2**21
        at = kernels.functions.bh_allocate(size)
        if not at:
            raise MemoryError(f"{num_bytes} bytes for the model's weights or cache")
        self.at: int = at
        weakref.finalize(self, kernels.functions.bh_release, at, size)


@cache
def load_kernels(num_threads: int, directory: Path | None = None) -> Kernels:
    """The kernels with a team of so many threads. directory: of what was compiled. Raises NoKernels."""
    variant, file = kernels_file(directory)
    try:
        functions = ctypes.CDLL(str(file))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(functions, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise NoKernels(f"{file} cannot be loaded: {error}") from error
    return Kernels(functions, functions.bh_team(num_threads), variant.name, num_threads)
