"""Work on the few tokens that count, instead of on the whole vocabulary."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beamhouse.engine.native import choices
from beamhouse.engine.native.library import Kernels

_SUM_WIDTH = 64
_CHUNK = 128
_MIN_VOCAB = 1024
_MOST_SHARE = 8
"""Rows of which less than one token in so many counts are narrow."""


@dataclass(frozen=True, slots=True)
class Survivors:
    """The tokens of some rows that count, in a narrow form: (R, M), each row's own in ascending order, then padding.

    M and V leave the same remainder by `_SUM_WIDTH`, the most lanes a vector unit sums in: so softmax and cumsum over
    what was sorted in the narrow form round as over whole rows, whose other terms are zeros.
    shape: R and M. places, slots: (N,) where each survivor stands in the flattened (R, V) and (R, M).
    """

    shape: tuple[int, int]
    places: Tensor
    slots: Tensor

    @classmethod
    def of(cls, counts: Tensor) -> "Survivors":
        """counts: (R, V) bool, on the host."""
        return cls.at(np.flatnonzero(counts.numpy()), *counts.shape)

    @classmethod
    def at(cls, places: npt.NDArray[np.int64], num_rows: int, vocab_size: int) -> "Survivors":
        """places: of those that count in the flattened (R, V), ascending."""
        rows = places // vocab_size
        nums = np.bincount(rows, minlength=num_rows)
        width = int(nums.max())
        width += (vocab_size - width) % _SUM_WIDTH
        slots = rows * width + np.arange(len(places)) - np.repeat(np.cumsum(nums) - nums, nums)
        return cls((num_rows, width), torch.from_numpy(places), torch.from_numpy(slots))

    def gather(self, values: Tensor, padding: float = -torch.inf) -> Tensor:
        """(R, V) to (R, M)"""
        return values.new_full(self.shape, padding).put_(self.slots, values.take(self.places))

    def put(self, scores: Tensor, left: Tensor) -> Tensor:
        """Write the narrow form back into (R, V) scores."""
        return scores.put_(self.places, left.take(self.slots))

    def tokens(self, vocab_size: int) -> Tensor:
        """Which token stands where, (R, M); 0 for padding."""
        return self.slots.new_zeros(self.shape).put_(self.slots, self.places % vocab_size)


def is_searched(scores: Tensor) -> bool:
    """Whether looking for the survivors pays: other devices sort faster than they answer questions."""
    return scores.device.type == "cpu" and scores.shape[1] >= _MIN_VOCAB


def at_least(values: Tensor, floor: Tensor) -> Tensor:
    """Which values are not below the floor; NaN is not. values: (R, V); floor: (R, 1). Returns (R, V) bool.

    numpy compares several times as fast as torch on a CPU.
    """
    if values.device.type != "cpu":
        return ~(values < floor)
    return torch.from_numpy(~(values.numpy() < floor.numpy()))


def keep(scores: Tensor, is_kept: Tensor) -> Tensor:
    """-inf for all others. Writes into the scores; fast where few are kept."""
    if scores.device.type != "cpu":
        return scores.masked_fill_(~is_kept, -torch.inf)
    places = torch.from_numpy(np.flatnonzero(is_kept.numpy()))
    left = scores.take(places)
    return scores.fill_(-torch.inf).put_(places, left)


Cut = Callable[[Tensor, Tensor, Survivors | None], Tensor]
"""Takes the places of some rows, their scores and their survivors, None where all count; returns new scores."""


def by_width(scores: Tensor, known: Survivors | None, cut: Cut) -> Tensor:
    """Cut the rows with few tokens left apart from the others, so that one wide row does not make all of them slow.

    known: the survivors of all rows, where an earlier cut has found them.
    """
    every = torch.arange(len(scores), device=scores.device)
    if known is not None or not is_searched(scores):
        return cut(every, scores, known)
    counts = torch.from_numpy(scores.numpy() != -np.inf)
    nums = np.array([np.count_nonzero(row) for row in counts.numpy()])
    is_wide = torch.from_numpy(nums * _MOST_SHARE > scores.shape[1])
    wide, narrow = every[is_wide], every[~is_wide]
    if not len(wide):
        return cut(every, scores, Survivors.of(counts))
    if not len(narrow):
        return cut(every, scores, None)
    scores[wide] = cut(wide, scores[wide], None)
    scores[narrow] = cut(narrow, scores[narrow], Survivors.of(counts[narrow]))
    return scores


def keep_largest(scores: Tensor, k: Seq[int]) -> tuple[Tensor, Survivors | None]:
    """-inf for all scores below the k-th largest of their row, k per row from 1 to V. Also returns who may be left.

    Rows with a large k are ranked apart. No score below the k-th largest peak of all chunks can be the k-th.
    """
    is_small = [2 * one <= scores.shape[1] // _CHUNK for one in k]
    if any(is_small) and not all(is_small):
        for kind in (True, False):
            at = [place for place, one in enumerate(is_small) if one is kind]
            scores[at], _ = keep_largest(scores[at], [k[place] for place in at])
        return scores, None
    if not (is_small[0] and is_searched(scores)):
        return keep(scores, at_least(scores, kth_largest(scores, k))), None
    survivors = Survivors.of(at_least(scores, kth_largest(_peaks(scores), k)))
    left = survivors.gather(scores)
    left.masked_fill_(left < kth_largest(left, k), -torch.inf)
    return survivors.put(scores.fill_(-torch.inf), left), survivors


def kth_largest(scores: Tensor, k: Seq[int]) -> Tensor:
    """The k-th largest score of each row, k per row from 1 to V. (R, 1)"""
    most = max(k)
    if most == 1:
        return scores.amax(-1, keepdim=True)
    values = scores.topk(most).values
    return values[:, -1:] if most == min(k) else values.gather(1, torch.tensor(k, device=scores.device)[:, None] - 1)


def drop_smallest(scores: Tensor, ascending: Tensor, num: Tensor) -> Tensor:
    """-inf for the `num` smallest scores of each row, the first of them on ties. Writes into the scores.

    ascending: the scores in order, (R, M). num: (R, 1), less than M.
    """
    floor = ascending.gather(1, num)
    num_tied = num - torch.searchsorted(ascending, floor)
    if scores.device.type != "cpu" or bool(num_tied.any()):
        is_tied = scores == floor
        scores.masked_fill_(is_tied & (is_tied.cumsum(-1) <= num_tied), -torch.inf)
    return keep(scores, at_least(scores, floor))


def ascending(scores: Tensor, kernels: Kernels | None = None) -> Tensor:
    """Each row in ascending order. On a CPU numpy sorts four times as fast as torch, and the kernels beat both."""
    if scores.device.type != "cpu":
        return scores.sort(-1).values
    if kernels is not None and is_searched(scores):
        return choices.sort(kernels, scores)
    return torch.from_numpy(np.sort(scores.numpy(), axis=-1))


def ascending_places(distances: Tensor, kernels: Kernels | None = None) -> Tensor:
    """The places of each row's numbers in ascending order, the first of them on ties; NaN comes last. (R, M) int64

    distances: none below zero, so that their bits are in the same order and sort together with their places.
    """
    if distances.device.type != "cpu":
        return distances.sort(dim=-1, stable=True).indices
    if kernels is not None and is_searched(distances):
        return choices.argsort(kernels, distances)
    bits = distances.numpy().view(np.uint32).astype(np.int64) << 32
    keys = np.sort(bits | np.arange(distances.shape[1]), axis=-1)
    return torch.from_numpy(keys & (2**32 - 1))


def num_within(cumulated: Tensor, limit: Tensor) -> Tensor:
    """How many of each row's running sums do not exceed the limit. cumulated: (R, M); limit: (R, 1). Returns (R, 1).

    On a CPU they never fall, since it adds them one by one. Of NaN any number may be within.
    """
    if cumulated.device.type != "cpu":
        return (cumulated <= limit).sum(-1, keepdim=True)
    return torch.searchsorted(cumulated, limit, right=True)


def _peaks(scores: Tensor) -> Tensor:
    """The largest score of each chunk. (R, C). The few tokens left over belong to none."""
    num_chunks = scores.shape[1] // _CHUNK
    return scores[:, : num_chunks * _CHUNK].view(len(scores), num_chunks, _CHUNK).amax(-1)


def best(scores: Tensor) -> Tensor:
    """The place of the largest score of each row, the first of them on ties; of the first NaN where there is one. (R,)

    numpy is ten times as fast as torch on a CPU.
    """
    if scores.device.type != "cpu":
        return scores.argmax(-1)
    return torch.from_numpy(scores.numpy().argmax(-1))


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest scores of each row and their places, as `topk` gives them, whose call decides where any tie."""
    if not (is_searched(scores) and 2 * k <= scores.shape[1] // _CHUNK):
        return scores.topk(k)
    survivors = Survivors.of(at_least(scores, _peaks(scores).topk(k + 1).values[:, k:]))
    values, slots = survivors.gather(scores).topk(k + 1)
    if bool((values[:, 1:] == values[:, :-1]).any()):
        return scores.topk(k)
    return values[:, :k], survivors.tokens(scores.shape[1]).gather(1, slots[:, :k])
