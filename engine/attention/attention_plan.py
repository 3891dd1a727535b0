"""Where the tokens of one step read and write the paged cache; built once a step, used by every layer."""

import itertools
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from beamhouse.engine.state.batch import Feed

Slots = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """One feed of several tokens: its place among the step's tokens and the cache slots of its whole sequence.

    slots: (1, L) int64, or a slice where they lie side by side; None when the feed is the whole sequence, whose keys
    need not be read back.
    """

    start: int
    num_tokens: int
    num_before: int
    slots: torch.Tensor | slice | None


@dataclass(frozen=True, slots=True)
class Singles:
    """All feeds of one token. tokens: (R,) their places, None where these are all places of the step.

    slots: (R, L), padded with the row's last, or of one row a slice where they lie side by side. positions: (R,) in
    their sequences.
    """

    tokens: torch.Tensor | None
    slots: torch.Tensor | slice
    positions: torch.Tensor
    num_rows: int
    length: int


@dataclass(slots=True)
class AttentionPlan:
    """write_slots: (T,) where each token's key and value go. masks: built on first use, by kind and window."""

    write_slots: torch.Tensor
    positions: torch.Tensor
    singles: Singles | None
    spans: list[Span]
    masks: dict[tuple[int, int | None, int | None], torch.Tensor | None] = field(default_factory=dict)


def build_plan(feeds: Seq[Feed], block_size: int, device: torch.device) -> AttentionPlan:
    """Turn block tables into slots. Every feed's blocks must already reach to its last token."""
    counts = [len(feed.token_ids) for feed in feeds]
    ends = list(itertools.accumulate(counts))
    positions = np.empty(ends[-1], np.int64)
    writes = np.empty(ends[-1], np.int64)
    spans: list[Span] = []
    singles: list[int] = []
    for number, (feed, count, end) in enumerate(zip(feeds, counts, ends, strict=True)):
        if count == 1:
            singles.append(number)
            continue
        before = feed.sequence.num_cached
        slots = _slots([feed], block_size)[:, : before + count]
        positions[end - count : end] = np.arange(before, before + count)
        writes[end - count : end] = slots[0, before:]
        spans.append(Span(end - count, count, before, _side_by_side(slots, device) if before else None))
    together = None
    if len(singles) == len(feeds) == 1:
        together = _one_single(feeds[0], block_size, positions, writes, device)
    elif singles:
        tokens = np.array([ends[number] - 1 for number in singles])
        lengths = np.array([feeds[number].sequence.num_cached for number in singles])
        slots = _slots([feeds[number] for number in singles], block_size)[:, : int(lengths.max()) + 1]
        positions[tokens] = lengths
        writes[tokens] = slots[np.arange(len(singles)), lengths]
        # What lies behind a row is of nobody, or of others, and where it is no number a weight of 0 does not help: the
        # row reads its newest token there.
        slots = np.where(np.arange(slots.shape[1]) <= lengths[:, None], slots, writes[tokens][:, None])
        together = Singles(
            torch.from_numpy(tokens).to(device) if spans else None,
            _side_by_side(slots, device),
            torch.from_numpy(lengths).to(device),
            *slots.shape,
        )
    return AttentionPlan(torch.from_numpy(writes).to(device), torch.from_numpy(positions).to(device), together, spans)


def _one_single(feed: Feed, block_size: int, positions: Slots, writes: Slots, device: torch.device) -> Singles:
    """The step of one sequence that feeds one token, without the work that several rows need."""
    sequence, length = feed.sequence, feed.sequence.num_cached
    positions[0] = length
    writes[0] = sequence.block_ids[length // block_size] * block_size + length % block_size
    slots = _side_by_side(_slots([feed], block_size)[:, : length + 1], device)
    return Singles(None, slots, torch.from_numpy(positions).to(device), 1, length + 1)


def _side_by_side(slots: Slots, device: torch.device) -> torch.Tensor | slice:
    """A slice for the slots of one row that follow each other: what it holds can be read without a copy. (R, L)"""
    if len(slots) == 1:
        row = slots[0]
        first, last = int(row[0]), int(row[-1])
        if last - first + 1 == len(row) and not (row[1:] - row[:-1] != 1).any():
            return slice(first, last + 1)
    return torch.from_numpy(slots).to(device)


def _slots(feeds: Seq[Feed], block_size: int) -> Slots:
    """The cache slots of each sequence, in order, then whichever. (R, L)"""
    tables = np.zeros((len(feeds), max(len(feed.sequence.block_ids) for feed in feeds)), np.int64)
    for row, feed in enumerate(feeds):
        tables[row, : len(feed.sequence.block_ids)] = feed.sequence.block_ids
    return (tables[:, :, None] * block_size + np.arange(block_size)).reshape(len(feeds), -1)
