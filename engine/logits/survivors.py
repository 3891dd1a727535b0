"""Work on the few tokens that earlier processors left, instead of on the whole vocabulary."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_SURVIVOR_CHUNK = 8
_RANK_CHUNK = 64
_SUM_WIDTH = 64
_MIN_VOCAB = 1024
_MIN_SEARCHED = 2**18


@dataclass(frozen=True, slots=True)
class Survivors:
    """Places of the vocabulary that hold every score that counts. indices: (R, M) ascending, M at most V.

    M and V leave the same remainder by `_SUM_WIDTH`, the most lanes a vector unit sums in: so softmax and cumsum over
    the survivors round as over the whole row, whose other terms are zeros.
    """

    indices: Tensor
    vocab_size: int

    @classmethod
    def of(cls, scores: Tensor, floor: Tensor | None = None) -> "Survivors":
        """floor: (R, 1); without it, those above -inf are sought, with it also lower ones are left out.

        On a CPU the vocabulary is searched in chunks; other devices sort faster than they answer questions. Where a
        floor alone is to be drawn, under `_MIN_SEARCHED` scores, that takes less than the search.
        """
        num_rows, vocab_size = scores.shape
        every = torch.arange(vocab_size, device=scores.device)
        is_quick = floor is not None and scores.numel() < _MIN_SEARCHED
        if is_quick or scores.device.type != "cpu" or vocab_size < _MIN_VOCAB:
            return cls(every.expand(num_rows, -1), vocab_size)
        chunked, tail = _in_chunks(scores, _SURVIVOR_CHUNK)
        peaks = chunked.amax(1)  # (R, C)
        is_alive = peaks.ne(-torch.inf) if floor is None else ~(peaks < floor)
        num_alive = int(is_alive.sum(-1).max())  # the scores are on the host already
        num_chunks = num_alive + (peaks.shape[1] - num_alive) % (_SUM_WIDTH // _SURVIVOR_CHUNK)
        if num_chunks * 4 > peaks.shape[1]:
            return cls(every.expand(num_rows, -1), vocab_size)
        chunks = peaks.topk(num_chunks).indices.sort(-1).values  # (R, chunks)
        starts = torch.arange(_SURVIVOR_CHUNK)[:, None] * peaks.shape[1]
        inside = (chunks[:, None, :] + starts).flatten(1)
        return cls(torch.cat([inside, every[vocab_size - tail.shape[1] :].expand(num_rows, -1)], 1), vocab_size)

    @property
    def is_narrow(self) -> bool:
        return self.indices.shape[1] < self.vocab_size

    def gather(self, values: Tensor) -> Tensor:
        """(R, V) to (R, M)"""
        return values.gather(1, self.indices) if self.is_narrow else values

    def drop(self, scores: Tensor, order: Tensor, is_dropped: Tensor) -> Tensor:
        """-inf where dropped. order: (R, M) places among the survivors; is_dropped: (R, M) in that order."""
        dropped = torch.empty_like(is_dropped).scatter_(1, order, is_dropped)
        return self.put(scores, self.gather(scores).masked_fill_(dropped, -torch.inf))

    def put(self, scores: Tensor, left: Tensor) -> Tensor:
        """Write what is left of the survivors, (R, M), and -inf everywhere else."""
        return scores.fill_(-torch.inf).scatter_(1, self.indices, left) if self.is_narrow else left


def by_width(scores: Tensor, cut: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Cut the rows with few survivors apart from the others, so that one wide row does not make all of them slow.

    cut: gets the places of some rows and their scores, and returns new ones.
    """
    every = torch.arange(len(scores), device=scores.device)
    if scores.device.type != "cpu" or scores.shape[1] < _MIN_VOCAB:
        return cut(every, scores)
    chunked, _ = _in_chunks(scores, _SURVIVOR_CHUNK)
    is_wide = chunked.amax(1).ne(-torch.inf).sum(-1) * 8 > chunked.shape[2]
    wide, narrow = every[is_wide], every[~is_wide]
    if not len(wide) or not len(narrow):
        return cut(every, scores)
    for places in (narrow, wide):
        scores[places] = cut(places, scores[places])
    return scores


def kth_largest(scores: Tensor, k: list[int]) -> Tensor:
    """The k-th largest score of each row, k per row from 1 to V. (R, 1)

    Rows with a large k are ranked apart. Only chunks with one of the k largest peaks can hold the k-th score, since all
    larger ones lie in fewer than k chunks.
    """
    most = max(k)
    if most == 1:
        return scores.amax(-1, keepdim=True)
    is_small = [one * 4 < scores.shape[1] // _RANK_CHUNK for one in k]
    if any(is_small) and not all(is_small):
        limits = scores.new_empty(len(k), 1)
        for kind in (True, False):
            at = [place for place, one in enumerate(is_small) if one is kind]
            limits[at] = kth_largest(scores[at], [k[place] for place in at])
        return limits
    if is_small[0]:
        chunked, tail = _in_chunks(scores, _RANK_CHUNK)
        chunks = chunked.amax(1).topk(most).indices  # (R, most)
        inside = chunked.gather(2, chunks[:, None, :].expand(-1, _RANK_CHUNK, -1))
        scores = torch.cat([inside.flatten(1), tail], 1)
    places = torch.tensor(k, device=scores.device)[:, None] - 1
    return scores.topk(most).values.gather(1, places)


def _in_chunks(scores: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Scores as (R, size, C), a chunk being every C-th token, which a CPU reduces fastest; and the few left over."""
    num_chunks = scores.shape[1] // size
    whole = scores[:, : num_chunks * size].view(len(scores), size, num_chunks)
    return whole, scores[:, num_chunks * size :]
