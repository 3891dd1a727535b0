"""Where the tokens of one step read and write the paged cache; built once a step, used by every layer."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

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
    positions: list[int] = []
    writes: list[torch.Tensor] = []
    tables: list[torch.Tensor] = []
    spans: list[Span] = []
    singles: list[tuple[int, int, torch.Tensor]] = []
    for feed in feeds:
        start, before = len(positions), feed.sequence.num_cached
        length = before + len(feed.token_ids)
        table = _slots(feed.sequence.block_ids, block_size, length)
        positions.extend(range(before, length))
        writes.append(table[before:])
        tables.append(table)
        if len(feed.token_ids) == 1:
            singles.append((start, before, table))
        else:
            spans.append(Span(start, len(feed.token_ids), before, table.to(device) if before else None))
    return Plan(
        write_slots=torch.cat(writes).to(device),
        positions=torch.tensor(positions, device=device),
        singles=_gather_singles(singles, device) if singles else None,
        spans=spans,
    )


def _slots(block_ids: list[int], block_size: int, length: int) -> torch.Tensor:
    blocks = torch.tensor(block_ids, dtype=torch.int64)[:, None] * block_size
    return (blocks + torch.arange(block_size)).flatten()[:length]  # (L,)


def _gather_singles(singles: list[tuple[int, int, torch.Tensor]], device: torch.device) -> Singles:
    longest = max(before for _, before, _ in singles) + 1
    slots = torch.zeros(len(singles), longest, dtype=torch.int64)
    for row, (_, before, table) in enumerate(singles):
        slots[row, : before + 1] = table
    return Singles(
        tokens=torch.tensor([start for start, _, _ in singles], device=device),
        slots=slots.to(device),
        positions=torch.tensor([before for _, before, _ in singles], device=device),
    )
