"""Where the tokens of one step read and write the paged cache; built once a step, used by every layer."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

import numpy as np
import torch

from engine.batch import Feed


@dataclass(frozen=True, slots=True)
class Span:
    """One feed of several tokens: its place among the step's tokens and the cache slots of its whole sequence.

    slots: (L,) int64; None when the feed is the whole sequence, whose keys need not be read back.
    """

    start: int
    num_tokens: int
    num_before: int
    slots: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Singles:
    """All feeds of one token. tokens: (R,) their places. slots: (R, L), padded. positions: (R,) in their sequences."""

    tokens: torch.Tensor
    slots: torch.Tensor
    positions: torch.Tensor


@dataclass(slots=True)
class Plan:
    """write_slots: (T,) where each token's key and value go. masks: built on first use, by kind and window."""

    write_slots: torch.Tensor
    positions: torch.Tensor
    singles: Singles | None
    spans: list[Span]
    masks: dict[tuple[int, int | None, int | None], torch.Tensor | None] = field(default_factory=dict)


def build_plan(feeds: Seq[Feed], block_size: int, device: torch.device) -> Plan:
    """Turn block tables into slots. Every feed's blocks must already reach to its last token."""
    spans: list[Span] = []
    singles: list[Feed] = []
    single_tokens: list[int] = []
    positions: list[int] = []
    writes = torch.empty(sum(len(feed.token_ids) for feed in feeds), dtype=torch.int64)
    for feed in feeds:
        start, before, num_tokens = len(positions), feed.sequence.num_cached, len(feed.token_ids)
        positions.extend(range(before, before + num_tokens))
        if num_tokens == 1:
            singles.append(feed)
            single_tokens.append(start)
            continue
        slots = _slots([feed], block_size)[0, : before + num_tokens]
        writes[start : start + num_tokens] = slots[before:]
        spans.append(Span(start, num_tokens, before, slots.to(device) if before else None))
    together = None
    if singles:
        lengths = torch.tensor([feed.sequence.num_cached for feed in singles])
        slots = _slots(singles, block_size)[:, : int(lengths.max()) + 1]
        tokens = torch.tensor(single_tokens)
        writes[tokens] = slots.gather(1, lengths[:, None])[:, 0]
        together = Singles(tokens.to(device), slots.to(device), lengths.to(device))
    return Plan(writes.to(device), torch.tensor(positions, device=device), together, spans)


def _slots(feeds: Seq[Feed], block_size: int) -> torch.Tensor:
    """The cache slots of each sequence, in order, padded with those of block 0. (R, L)"""
    tables = np.zeros((len(feeds), max(len(feed.sequence.block_ids) for feed in feeds)), np.int64)
    for row, feed in enumerate(feeds):
        tables[row, : len(feed.sequence.block_ids)] = feed.sequence.block_ids
    starts = torch.from_numpy(tables)[:, :, None] * block_size  # (R, B, 1)
    return (starts + torch.arange(block_size)).flatten(1)
