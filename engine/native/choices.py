"""What the kernels do where tokens are chosen: draws, cuts and orders. For scores on the host."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from ctypes import byref, c_int32
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from beamhouse.engine.native.library import Kernels
from beamhouse.engine.native.mirrored import MOST_SHUFFLED

Ids = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]

_ROOM_FOR_TIES = 64
STATE_BYTES = 5056
"""Of the state of a torch generator on the CPU, as src/twister.h knows it: it reads and writes the first 5016."""


def race(
    kernels: Kernels, scores: torch.Tensor, generators: Seq[torch.Generator], rows: Seq[Seq[int | None]]
) -> list[list[int]] | None:
    """One draw from the softmax of rows of the scores, as torch.multinomial makes it.

    scores: (R, V) float32. rows: for each generator those it draws for, in its order; None uses up the numbers of a row
    that is not drawn for, and its place in the answer is to be passed over. None where a winner is in doubt, or torch's
    generators are not those that the kernels know: then nothing was drawn.
    """
    return None if unlike_torch(kernels) else _raced(kernels, scores, generators, rows)


@cache
def unlike_torch(kernels: Kernels) -> str:
    """In what the kernels' draws differ from this torch's, whose generators are its own affair; "" for nothing."""
    theirs, ours = ([torch.Generator().manual_seed(seed) for seed in range(2)] for _ in range(2))
    length = len(ours[0].get_state())
    if length != STATE_BYTES:
        return f"the state of a torch generator has {length} bytes, not {STATE_BYTES}"
    for one in (*theirs, *ours):
        # An odd number of words: the pairs of the next numbers lie across two turns of the generator.
        torch.rand(1, generator=one)
    for seed in range(4):
        scores = 3.0 * torch.randn(2, 500, generator=torch.Generator().manual_seed(seed))
        rows = zip(scores.softmax(-1), theirs, strict=True)
        expected = [[int(torch.multinomial(row, 1, generator=generator))] for row, generator in rows]
        if _raced(kernels, scores, ours, [[0], [1]]) != expected:
            return "torch draws other tokens than the kernels"
    if not all(torch.equal(one.get_state(), two.get_state()) for one, two in zip(theirs, ours, strict=True)):
        return "torch leaves its generators in another state than the kernels"
    return ""


def _raced(
    kernels: Kernels, scores: torch.Tensor, generators: Seq[torch.Generator], rows: Seq[Seq[int | None]]
) -> list[list[int]] | None:
    """As `race`, of generators that are known."""
    scores = scores.contiguous()
    states = [generator.get_state() for generator in generators]
    ends = np.cumsum([len(own) for own in rows])
    at, row_bytes = scores.data_ptr(), 4 * scores.shape[1]
    places = np.array([0 if row is None else at + row * row_bytes for own in rows for row in own], np.uintp)
    winners = np.empty(len(places), np.int64)
    is_certain = c_int32()
    kernels.functions.bh_race(
        kernels.team,
        np.array([state.data_ptr() for state in states], np.uintp).ctypes.data,
        ends.ctypes.data,
        len(states),
        places.ctypes.data,
        scores.shape[1],
        winners.ctypes.data,
        byref(is_certain),
    )
    if not is_certain.value:
        return None
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
    told = winners.tolist()
    return [told[end - len(own) : end] for own, end in zip(rows, ends.tolist(), strict=True)]


def cut_to_largest(kernels: Kernels, scores: torch.Tensor, k: Seq[int]) -> Ids | None:
    """-inf for all scores below the k-th largest of their row, k per row. Writes into the scores.

    scores: (R, V) float32. Returns the places of the others in the flattened scores, ascending. None where the kernels
    do not serve: for a large k, many ties, NaN, -inf alone, or rows that do not lie side by side. Then some rows may be
    cut already, the others are not.
    """
    if not scores.is_contiguous():
        return None
    room = 2 * max(k) + _ROOM_FOR_TIES
    asked, counts = np.array(k, np.int64), np.empty(len(k), np.int64)
    places = np.empty((len(k), room), np.int64)
    kernels.functions.bh_keep_largest(
        kernels.team,
        scores.data_ptr(),
        *scores.shape,
        asked.ctypes.data,
        room,
        places.ctypes.data,
        counts.ctypes.data,
    )
    if counts.min() < 0:
        return None
    places += np.arange(len(k))[:, None] * scores.shape[1]
    return places[np.arange(room) < counts[:, None]]


def sort(kernels: Kernels, scores: torch.Tensor) -> torch.Tensor:
    """Each row in ascending order, NaN last. scores: (R, V) float32."""
    scores, values = scores.contiguous(), torch.empty(scores.shape)
    kernels.functions.bh_sort(kernels.team, scores.data_ptr(), *scores.shape, values.data_ptr(), None)
    return values


def argsort(kernels: Kernels, scores: torch.Tensor) -> torch.Tensor:
    """The places of each row's scores in ascending order, the first of them on ties, NaN last. (R, V) int64"""
    scores, places = scores.contiguous(), torch.empty(scores.shape, dtype=torch.int64)
    kernels.functions.bh_sort(kernels.team, scores.data_ptr(), *scores.shape, None, places.data_ptr())
    return places


def swaps_for(kernels: Kernels | None, size: int) -> Callable[[int, int], Words] | None:
    """What finds the swaps of a `watermark.shuffle.Shuffle` of this size; None where its own way serves."""
    if kernels is None or size > MOST_SHUFFLED:
        return None

    def find(seed: int, count: int) -> Words:
        swaps = np.empty(count, np.uint32)
        kernels.functions.bh_swaps(seed, size, count, swaps.ctypes.data)
        return swaps

    return find
