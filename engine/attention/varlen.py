"""Attention in one call a layer: every row reads its keys where they lie in the paged cache, through a block table."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from beamhouse.engine.attention.attention_plan import build_plan
from beamhouse.engine.attention.block_tables import StepNumbers
from beamhouse.engine.attention.paged import LayerKind, PagedAttention
from beamhouse.engine.state.batch import Feed
from beamhouse.engine.state.block_cache import BlockCopy

NUM_SPLITS = 1
"""Keys of a row are summed up in one go: then a row's result does not depend on the length of its neighbours.

Some builds of FlashAttention 2 also answer with NaN when they choose the splits of a paged cache themselves.
"""
HEAD_SIZES = range(8, 257, 8)
"""What the kernels take."""


class Varlen(Protocol):
    """What `torch.nn.attention.varlen.varlen_attn` is, as far as it is used here."""

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        cu_seq_q: torch.Tensor,
        cu_seq_k: torch.Tensor | None,
        max_q: int,
        max_k: int,
        *,
        scale: float | None,
        window_size: tuple[int, int],
        enable_gqa: bool,
        seqused_k: torch.Tensor,
        block_table: torch.Tensor,
        num_splits: int | None,
    ) -> Any: ...  # Any: a tensor, but torch declares a second form of the answer


@dataclass(frozen=True, slots=True)
class VarlenKernel:
    """name: for people. takes_key_starts: FlashAttention 2 asks where keys begin, later ones refuse to be told."""

    attend: Varlen
    name: str
    takes_key_starts: bool


class VarlenAttention:
    """The cache of all layers with block tables to read it; what the kernel does not have goes to PagedAttention.

    left_out: why layers went there.
    """

    def __init__(self, paged: PagedAttention, kernel: VarlenKernel, dtype: torch.dtype) -> None:
        self._paged, self._kernel, self._dtype = paged, kernel, dtype
        self.block_size = paged.block_size
        self.left_out: dict[str, None] = {}
        self._step: StepNumbers | None = None
        self._feeds: Seq[Feed] | None = None

    def begin(self, step: StepNumbers, feeds: Seq[Feed] | None) -> None:
        """Set what the next pass reads. feeds: for layers that are left out; None where there may be none."""
        self._step, self._feeds = step, feeds

    def end(self) -> None:
        self._step = self._feeds = self._paged.plan = None

    def __call__(
        self,
        module: Any,  # Any: the attention layer of any architecture
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **kwargs: Any,  # Any: whatever the architecture passes
    ) -> tuple[torch.Tensor, None]:
        """query: (1, H, T, D); key, value: (1, H_kv, T, D). Returns (1, T, H, D) and no weights."""
        step = self._step
        assert step is not None
        kind = self._paged.kind(module, query, kwargs)
        reason = self._reason_against(kind, query, value)
        if reason is not None:
            self._fall_back(reason, query.device)
            return self._paged(module, query, key, value, attention_mask, **kwargs)
        if step.max_fed > 1:
            key, value = marked(key, value)
        keys, values = self._paged.write(module.layer_idx, key[0].transpose(0, 1), value[0].transpose(0, 1), step.slots)
        rows = self._kernel.attend(
            query[0].transpose(0, 1),  # (T, H, D)
            keys.view(-1, self.block_size, *keys.shape[1:]),  # (B, block, H_kv, D)
            values.view(-1, self.block_size, *values.shape[1:]),
            step.starts,
            step.key_starts if self._kernel.takes_key_starts else None,
            step.max_fed,
            step.max_keys,
            scale=kind.scaling,
            # The library's window counts the token itself.
            window_size=(-1 if kind.window is None else kind.window - 1, 0),
            enable_gqa=query.shape[1] != key.shape[1],
            seqused_k=step.lengths,
            block_table=step.tables,
            num_splits=NUM_SPLITS,
        )
        return rows[None], None

    @property
    def is_used(self) -> bool:
        """Whether any layer has run yet."""
        return self._paged.is_used

    def copy_blocks(self, copies: Seq[BlockCopy]) -> None:
        """Copy blocks in every layer, for forks that are about to write into them."""
        self._paged.copy_blocks(copies)

    def _reason_against(self, kind: LayerKind, query: torch.Tensor, value: torch.Tensor) -> str | None:
        """Why the kernel cannot compute a layer, if it cannot."""
        if kind.cap is not None or kind.sinks is not None or kind.chunk is not None:
            return "capped logits, sinks or chunks"
        if query.dtype != self._dtype:
            return f"attention in {str(query.dtype).removeprefix('torch.')}"
        if query.shape[-1] != value.shape[-1] or query.shape[-1] not in HEAD_SIZES:
            return f"heads of {query.shape[-1]} and {value.shape[-1]} numbers"
        return None

    def _fall_back(self, reason: str, device: torch.device) -> None:
        """Give the other attention a plan of this step, unless it has one."""
        if self._feeds is None:
            raise RuntimeError(f"not every layer attends in one call: {reason}")
        self.left_out[reason] = None
        if self._paged.plan is None:
            self._paged.plan = build_plan(self._feeds, self.block_size, device)


def marked(key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values that are finite, and no number as the key of a token whose value was not. key, value: (1, H_kv, T, D).

    A value that is no number reaches those before it too, under a weight of 0; a key like that only those who see it.
    """
    return key + (value * 0).sum(-1, keepdim=True), value.nan_to_num(0.0, 0.0, 0.0)
