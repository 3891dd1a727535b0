"""The integers of one step for attention through block tables, in one buffer: one copy brings them to the device."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from beamhouse.engine.state.batch import Feed


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """Views into the buffer. T tokens, R rows (one a sequence), B blocks of the longest table, K kept places.

    token_ids, positions, slots: (T,) int64; where a token stands for the model, and where its key and value go. kept:
    (K,) int64. starts, key_starts: (R + 1,) int32, where each row's tokens and keys begin. lengths: (R,) int32, keys of
    each row with those of this step. tables: (R, B) int32. max_fed, max_keys: the most tokens and keys of a row.
    """

    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    kept: torch.Tensor
    starts: torch.Tensor
    key_starts: torch.Tensor
    lengths: torch.Tensor
    tables: torch.Tensor
    max_fed: int
    max_keys: int


@dataclass(frozen=True, slots=True)
class BufferLayout:
    """Where the numbers of a step lie in its buffer, which has `size` int64."""

    num_tokens: int
    num_rows: int
    num_blocks: int
    num_kept: int
    max_fed: int
    max_keys: int

    @classmethod
    def of(cls, feeds: Seq[Feed], num_kept: int) -> "BufferLayout":
        """As large as these feeds need it."""
        counts = [len(feed.token_ids) for feed in feeds]
        num_blocks = max(len(feed.sequence.block_ids) for feed in feeds)
        max_keys = max(feed.sequence.num_cached + count for feed, count in zip(feeds, counts, strict=True))
        return cls(sum(counts), len(feeds), num_blocks, num_kept, max(counts), max_keys)

    @property
    def size(self) -> int:
        return sum(self._wide) + -(-sum(self._narrow) // 2)

    @property
    def _wide(self) -> list[int]:
        return [self.num_tokens, self.num_tokens, self.num_tokens, self.num_kept]

    @property
    def _narrow(self) -> list[int]:
        return [self.num_rows + 1, self.num_rows + 1, self.num_rows, self.num_rows * self.num_blocks]

    def views(self, buffer: torch.Tensor) -> StepNumbers:
        """buffer: (size,) int64, on any device."""
        token_ids, positions, slots, kept, rest = buffer.split([*self._wide, len(buffer) - sum(self._wide)])
        starts, key_starts, lengths, tables = rest.view(torch.int32)[: sum(self._narrow)].split(self._narrow)
        return StepNumbers(
            token_ids, positions, slots, kept, starts, key_starts, lengths,
            tables.view(self.num_rows, self.num_blocks), self.max_fed, self.max_keys,
        )  # fmt: skip


def stage(
    layout: BufferLayout, feeds: Seq[Feed], kept: Seq[int], block_size: int, spare: int, *, is_pinned: bool
) -> torch.Tensor:
    """Fill a new buffer on the host. Every feed's blocks must already reach to its last token.

    Rows beyond the feeds are of one token, which reads and writes in the block `spare`, as does what is left of a
    table. is_pinned: for a copy that nobody waits for; torch gives such memory out again only after the copy.
    """
    buffer = torch.empty(layout.size, dtype=torch.int64, pin_memory=is_pinned)
    step = layout.views(buffer)
    tables = step.tables.numpy()
    tables.fill(spare)
    counts, before = np.ones(layout.num_rows, np.int64), np.zeros(layout.num_rows, np.int64)
    masked = np.zeros(layout.num_rows, np.int64)
    for row, feed in enumerate(feeds):
        sequence = feed.sequence
        counts[row], before[row], masked[row] = len(feed.token_ids), sequence.num_cached, sequence.num_masked
        tables[row, : len(sequence.block_ids)] = sequence.block_ids
    ends = counts.cumsum()
    places = np.arange(layout.num_tokens) - np.repeat(ends - counts - before, counts)  # (T,) in their sequences
    blocks = tables[np.repeat(np.arange(layout.num_rows), counts), places // block_size].astype(np.int64)
    token_ids = np.fromiter(chain.from_iterable(feed.token_ids for feed in feeds), np.int64)
    step.token_ids.numpy()[: len(token_ids)] = token_ids
    step.token_ids.numpy()[len(token_ids) :] = 0
    step.positions.numpy()[:] = places + np.repeat(masked, counts)
    step.slots.numpy()[:] = blocks * block_size + places % block_size
    step.kept.numpy()[:] = kept
    step.lengths.numpy()[:] = before + counts
    for found, sums in ((step.starts, ends), (step.key_starts, (before + counts).cumsum())):
        found.numpy()[0], found.numpy()[1:] = 0, sums
    return buffer
