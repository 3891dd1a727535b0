"""Tokens that stand far out, for a check that must stay cheap: behind two blocks that are read again and again.

A model may do something else from some position on (windows, chunks, scaled queries, other rotary factors), and a
hundred tokens from 0 on never come there. So a few tokens are put at a position. Right before them keys and values lie,
of the two blocks that were computed once: the block table names the first of them for the first third of the past and
the second for the rest, and so do the library's keys, for one layer at a time. Nothing attends to what is before that.
Neither side computes or keeps a past of that length, but attention, masks and positions are those of one.
"""

import math
import re
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

NUM_TOKENS = 4
"""What is fed at each position, at least."""
MOST_PAST = 2**14
"""The longest past that attention reads; windows beyond two thirds of it are not crossed."""
MOST_STANDS = 16
LENGTH_NAMES = re.compile(r"window|chunk|floor|context|position|seq_len|length|n_ctx")


@dataclass(frozen=True, slots=True)
class Stand:
    """Where tokens stand. position: of the first. num_first, num_second: blocks of the past, of each kind."""

    position: int
    num_tokens: int
    num_first: int
    num_second: int
    block_size: int

    @classmethod
    def at(cls, position: int, block_size: int, context_len: int) -> "Stand":
        """Before a position, so that nothing is masked where the past can be that long; the last goes to the end."""
        if position <= MOST_PAST:
            position = position // block_size * block_size
        num_blocks = min(position, MOST_PAST) // block_size
        left = context_len - position
        num_tokens = left if left < NUM_TOKENS + block_size else NUM_TOKENS
        return cls(position, num_tokens, num_blocks // 3, num_blocks - num_blocks // 3, block_size)

    @property
    def num_past(self) -> int:
        return (self.num_first + self.num_second) * self.block_size

    @property
    def num_masked(self) -> int:
        return self.position - self.num_past

    def past_of(self, blocks: Seq[int]) -> list[int]:
        """The past as a block table. blocks: of the first and the second kind."""
        return [blocks[0]] * self.num_first + [blocks[1]] * self.num_second


def stands(config: Any, context_len: int, block_size: int) -> list[Stand]:  # Any: a transformers configuration
    """Half and the end of the context, and past every length that the configuration names: by half of it.

    No more than `MOST_STANDS`, the farthest.
    """
    last = context_len - NUM_TOKENS
    lengths = {length for length in named_lengths(config.to_dict()) if length <= last}
    # Rounding down must not lead back before the length.
    positions = {context_len // 2, last, *(min(last, length + max(length // 2, block_size)) for length in lengths)}
    found = {Stand.at(one, block_size, context_len) for one in positions if one >= block_size}
    return sorted(found, key=lambda stand: stand.position)[-MOST_STANDS:]


def named_lengths(config: dict[str, Any]) -> Iterator[int]:
    """The numbers in a configuration that may be lengths in tokens."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from named_lengths(value)
        elif type(value) in (int, float) and LENGTH_NAMES.search(name) and 2 <= value < math.inf:
            yield int(value)


class _StandingLayer(DynamicLayer):
    """One layer's keys and values behind a past that is only laid out while the layer attends.

    window: as many as the cache that `generate()` makes lets a query see, itself included; None for all.
    """

    def __init__(self, stand: Stand, blocks: Any, window: int | None) -> None:  # Any: a layer that has keys by now
        super().__init__()  # type: ignore[no-untyped-call] # the library's
        self._stand, self._blocks, self._window = stand, blocks, window
        self.is_sliding = window is not None

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *args: Any,
        **kwargs: Any,  # Any: the library's
    ) -> tuple[torch.Tensor, torch.Tensor]:
        length, _ = self.get_mask_sizes(key_states.shape[-2])
        keys, values = super().update(key_states, value_states)
        past = self._behind_past(self._blocks.keys, keys), self._behind_past(self._blocks.values, values)
        return past[0][..., -length:, :], past[1][..., -length:, :]

    def get_seq_length(self) -> int:
        return self._stand.position + super().get_seq_length()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        seen = self._stand.num_past + super().get_seq_length()
        kept = seen if self._window is None else min(seen, self._window - 1)
        return kept + query_length, self._stand.num_masked + seen - kept

    def _behind_past(self, blocks: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """blocks, own: (1, H, L, D)."""
        first, second = blocks[..., : -self._stand.block_size, :], blocks[..., -self._stand.block_size :, :]
        past = (first.repeat(1, 1, self._stand.num_first, 1), second.repeat(1, 1, self._stand.num_second, 1))
        return torch.cat([*past, own], dim=-2)


@dataclass(frozen=True, slots=True)
class LibraryPast:
    """The library's keys and values of the two blocks."""

    model: PreTrainedModel
    blocks: DynamicCache

    @classmethod
    def of(cls, model: PreTrainedModel, token_ids: torch.Tensor) -> "LibraryPast":
        """token_ids: (1, T) of two blocks."""
        blocks = DynamicCache()
        model(input_ids=token_ids, past_key_values=blocks, use_cache=True)
        return cls(model, blocks)

    def logits(self, stand: Stand, token_ids: torch.Tensor) -> torch.Tensor:
        """What the model itself says of tokens (1, T) at a stand: (T, V) float32."""
        kinds = DynamicCache(config=self.model.config).layers
        windows = [getattr(kind, "sliding_window", None) for kind in kinds] or [None] * len(self.blocks.layers)
        layers: list[Any] = [  # Any: the library asks for a list of several kinds
            _StandingLayer(stand, *one) for one in zip(self.blocks.layers, windows, strict=False)
        ]
        past = Cache(layers=layers)
        end = stand.position + token_ids.shape[1]
        positions = torch.arange(stand.position, end, device=token_ids.device)[None]
        mask = None
        if stand.num_masked:
            # As the library pads on the left.
            mask = torch.ones(1, end, dtype=torch.int64, device=token_ids.device)
            mask[:, : stand.num_masked] = 0
        out: Any = self.model(
            input_ids=token_ids, position_ids=positions, attention_mask=mask, past_key_values=past, use_cache=True
        )
        logits: torch.Tensor = out.logits[0].float()
        return logits
