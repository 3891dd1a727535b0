"""The compiled kernels as Python calls them: the functions of `src/api.cpp`, and a team of threads."""

import ctypes
import weakref
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from beamhouse.engine.native import mirrored
from beamhouse.engine.native.compiler import NoKernels, kernels_file


class KernelFailed(Exception):
    """Something was thrown inside a kernel; the message says what, and in which."""


_CALLS: dict[str, tuple[Any, ...]] = {
    "bh_pack": (c_void_p, POINTER(mirrored.MatrixStruct), c_void_p, c_int32, c_int64, c_int64, c_int64),
    "bh_linear": (
        c_void_p, POINTER(mirrored.MatrixStruct), c_int32, c_void_p, c_int64, c_int64, c_int64, c_int64, c_void_p,
    ),
    "bh_forward": (c_void_p, c_void_p, POINTER(mirrored.CacheStruct), POINTER(mirrored.StepStruct)),
    "bh_project": (c_void_p, c_void_p, c_void_p, c_int64, c_void_p),
    "bh_race": (c_void_p, c_void_p, c_void_p, c_int64, c_void_p, c_int64, c_void_p, POINTER(c_int32)),
    "bh_keep_largest": (c_void_p, c_void_p, c_int64, c_int64, c_void_p, c_int64, c_void_p, c_void_p),
    "bh_sort": (c_void_p, c_void_p, c_int64, c_int64, c_void_p, c_void_p),
}  # fmt: skip
"""Those that return 0, or something else where they failed."""
_MAKERS: dict[str, tuple[Any, ...]] = {
    "bh_team": (c_int64,),
    "bh_decoder": (c_int32, POINTER(mirrored.ShapeStruct), POINTER(mirrored.LayerStruct), c_int64),
}
"""Those that return an object, or null where they failed."""
_OTHERS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "bh_error": (c_char_p, ()),
    "bh_layout": (c_char_p, ()),
    "bh_allocate": (c_void_p, (c_int64,)),
    "bh_release": (None, (c_void_p, c_int64)),
    "bh_packed_bytes": (c_int64, (c_int64, c_int64, c_int32)),
    "bh_copy_blocks": (None, (POINTER(mirrored.CacheStruct), c_int64, c_int64, c_void_p, c_int64)),
    "bh_decoder_free": (None, (c_void_p,)),
    "bh_swaps": (None, (c_uint32, c_int64, c_int64, c_void_p)),
}
"""Those that cannot fail, or tell it in their own way."""


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """The functions and the threads they run on. variant: how they were compiled."""

    functions: Any  # Any: a ctypes library
    team: int
    variant: str
    num_threads: int


class HugePages:
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
    functions = open_library(file)
    try:
        return Kernels(functions, functions.bh_team(num_threads), variant.name, num_threads)
    except KernelFailed as error:
        raise NoKernels(f"a team of {num_threads} threads cannot be had: {error}") from error


def open_library(file: Path) -> Any:  # Any: a ctypes library
    """The functions in a file, which agrees with `mirrored`. Raises NoKernels."""
    try:
        functions = ctypes.CDLL(str(file))
        for name, arguments in _CALLS.items():
            _bind(functions, name, c_int32, arguments).errcheck = partial(_went_well, functions)
        for name, arguments in _MAKERS.items():
            _bind(functions, name, c_void_p, arguments).errcheck = partial(_made, functions)
        for name, (result, arguments) in _OTHERS.items():
            _bind(functions, name, result, arguments)
    except (OSError, AttributeError) as error:
        raise NoKernels(f"{file} cannot be loaded: {error}") from error
    difference = mirrored.difference((functions.bh_layout() or b"").decode())
    if difference:
        raise NoKernels(f"{file} was built of other sources: {difference}")
    return functions


def _bind(functions: Any, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
    function = getattr(functions, name)
    function.restype, function.argtypes = result, arguments
    return function


def _went_well(functions: Any, result: int, function: Any, _: Any) -> None:
    if result:
        raise KernelFailed(f"{function.__name__}: {functions.bh_error().decode(errors='replace')}")


def _made(functions: Any, result: int | None, function: Any, _: Any) -> int:
    if result is None:
        raise KernelFailed(f"{function.__name__}: {functions.bh_error().decode(errors='replace')}")
    return result
