"""Attention over the paged cache in plain torch, in the form of transformers' attention interface.

A step's tokens come as one row `(1, H, T, D)`. Rows that feed one token are computed together, padded to the longest
of them; a row that feeds several is computed alone. What a layer asks for beyond plain attention (a sliding window,
chunks, capped logits, sinks) arrives as keyword arguments or stands on the layer.
"""

import math
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention

from beamhouse.engine.attention.attention_plan import AttentionPlan, Span
from beamhouse.engine.state.block_cache import BlockCopy


class UnsupportedAttention(ValueError):
    """A layer asks for a form of attention that is not built here."""


@dataclass(frozen=True, slots=True)
class LayerKind:
    """What one layer asks for. window, chunk: tokens. cap: of the attention logits. sinks: (H,) extra logits."""

    scaling: float
    window: int | None
    chunk: int | None
    cap: float | None
    sinks: torch.Tensor | None


REFUSED = ("position_bias", "head_mask", "indices", "block_mask")
"""Keyword arguments that change the result in a way this attention does not know."""

ARGUMENTS = ("sliding_window", "scaling", "softcap", "s_aux", *REFUSED)
"""Keyword arguments that say what a layer asks for."""


class PagedAttention:
    """Holds the keys and values of all layers and computes attention over them.

    Set `plan` before each forward pass. keys, values: for each layer (slots, H_kv, D), made when the layer first runs,
    since only then its head sizes are known for certain.
    """

    def __init__(self, config: Any, num_blocks: int, block_size: int) -> None:  # Any: a transformers configuration
        self.config, self.num_slots, self.block_size = config, num_blocks * block_size, block_size
        self.plan: AttentionPlan | None = None
        self.keys: dict[int, torch.Tensor] = {}
        self.values: dict[int, torch.Tensor] = {}
        self._kinds: dict[int, tuple[tuple[Any, ...], LayerKind]] = {}

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
        plan = self.plan
        if plan is None:
            raise UnsupportedAttention("attention was called outside a step")
        kind = self.kind(module, query, kwargs)
        keys, values = self.write(module.layer_idx, key[0].transpose(0, 1), value[0].transpose(0, 1), plan.write_slots)
        singles = plan.singles
        if singles is not None:
            rows = query[0].transpose(0, 1)  # (T, H, D)
            rows = rows if singles.tokens is None else rows.index_select(0, singles.tokens)
            seen = _read(keys, singles.slots), _read(values, singles.slots)
            attended = _attend(rows[:, :, None], *seen, self._mask(plan, None, kind), kind)[:, :, 0]  # (R, H, D)
            if singles.tokens is None:
                return attended[None], None
        out = query.new_empty(query.shape[2], query.shape[1], value.shape[3])  # (T, H, D)
        if singles is not None and singles.tokens is not None:
            out.index_copy_(0, singles.tokens, attended)
        poisoned = _poisoned(key, value)
        for number, span in enumerate(plan.spans):
            own = slice(span.start, span.start + span.num_tokens)
            if span.slots is None:
                seen = key[:, :, own], value[:, :, own]
            else:
                seen = _read(keys, span.slots), _read(values, span.slots)
            asked = query[:, :, own], *seen, self._mask(plan, number, kind), kind
            rows = _attend(*asked) if poisoned is None else _attend_around(*asked, poisoned[own])
            out[own] = rows[0].transpose(0, 1)
        return out[None], None

    @property
    def is_used(self) -> bool:
        """Whether any layer has run yet."""
        return bool(self.keys)

    def copy_blocks(self, copies: Seq[BlockCopy]) -> None:
        """Copy blocks in every layer, for forks that are about to write into them."""
        pairs = torch.tensor([[copy.source, copy.target] for copy in copies])
        for store in (*self.keys.values(), *self.values.values()):
            # All layers lie on one device as a rule, so that this is one transfer.
            pairs = pairs.to(store.device)
            blocks = store.view(-1, self.block_size, *store.shape[1:])
            blocks[pairs[:, 1]] = blocks[pairs[:, 0]]

    def write(
        self, layer: int, key: torch.Tensor, value: torch.Tensor, slots: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store what a layer computed, (T, H_kv, D), at (T,) slots. Returns all it has stored, (slots, H_kv, D)."""
        if layer not in self.keys:
            self.keys[layer] = key.new_zeros(self.num_slots, *key.shape[1:])
            self.values[layer] = value.new_zeros(self.num_slots, *value.shape[1:])
        keys, values = self.keys[layer], self.values[layer]
        keys.index_copy_(0, slots, key)
        values.index_copy_(0, slots, value)
        return keys, values

    def kind(self, module: Any, query: torch.Tensor, kwargs: dict[str, Any]) -> LayerKind:
        """What a layer asks for, worked out anew only when it asks with other arguments than before."""
        asked = tuple(kwargs.get(name) for name in ARGUMENTS)
        known = self._kinds.get(module.layer_idx)
        if known is None or any(one is not other for one, other in zip(known[0], asked, strict=True)):
            known = self._kinds[module.layer_idx] = asked, self._new_kind(module, query, kwargs)
        return known[1]

    def _new_kind(self, module: Any, query: torch.Tensor, kwargs: dict[str, Any]) -> LayerKind:
        for name in REFUSED:
            if kwargs.get(name) is not None:
                raise UnsupportedAttention(f"{type(module).__name__} passes {name}")
        layer_types = getattr(self.config, "layer_types", None)
        layer_type = layer_types[module.layer_idx] if layer_types else None
        window = kwargs.get("sliding_window")
        if window is None and layer_type in (None, "sliding_attention"):
            window = getattr(module, "sliding_window", None)
        # Layers of one kind that say nothing are masked, and cached by `generate()`, by the configuration.
        is_silent = layer_type is None and "sliding_window" not in kwargs and not hasattr(module, "sliding_window")
        if window is None and (layer_type == "sliding_attention" or is_silent):
            window = getattr(self.config, "sliding_window", None)
        scaling = kwargs.get("scaling")
        return LayerKind(
            scaling=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
            window=window,
            chunk=self.config.attention_chunk_size if layer_type == "chunked_attention" else None,
            cap=kwargs.get("softcap"),
            sinks=kwargs.get("s_aux"),
        )

    def _mask(self, plan: AttentionPlan, number: int | None, kind: LayerKind) -> torch.Tensor | None:
        """The mask of a span, or of all single tokens (number None), kept for the layers of the same kind."""
        at = (-1 if number is None else number, kind.window, kind.chunk)
        if at not in plan.masks:
            plan.masks[at] = _singles_mask(plan, kind) if number is None else _span_mask(plan, plan.spans[number], kind)
        return plan.masks[at]


def _read(store: torch.Tensor, slots: torch.Tensor | slice) -> torch.Tensor:
    """Keys or values (slots, H_kv, D) of some rows, (R, L) their slots or the slice of one row. (R, H_kv, L, D)"""
    if isinstance(slots, slice):
        return store[slots].transpose(0, 1)[None]
    return store.index_select(0, slots.flatten()).view(*slots.shape, *store.shape[1:]).transpose(1, 2)


def _visible(queries: torch.Tensor, keys: torch.Tensor, kind: LayerKind) -> torch.Tensor:
    """Which key positions each query position may read; the two broadcast."""
    visible = keys <= queries
    if kind.window is not None:
        visible &= keys > queries - kind.window
    if kind.chunk is not None:
        visible &= keys // kind.chunk == queries // kind.chunk
    return visible


def _singles_mask(plan: AttentionPlan, kind: LayerKind) -> torch.Tensor | None:
    singles = plan.singles
    assert singles is not None
    keys = torch.arange(singles.length, device=singles.positions.device)
    if singles.num_rows == 1 and kind.window is None and kind.chunk is None:
        return None
    return _visible(singles.positions[:, None], keys, kind)[:, None, None]  # (R, 1, 1, L)


def _span_mask(plan: AttentionPlan, span: Span, kind: LayerKind) -> torch.Tensor | None:
    if span.num_before == 0 and kind.window is None and kind.chunk is None and kind.cap is None and kind.sinks is None:
        return None
    queries = plan.positions[span.start : span.start + span.num_tokens]
    keys = torch.arange(span.num_before + span.num_tokens, device=queries.device)
    return _visible(queries[:, None], keys, kind)[None, None]  # (1, 1, T, L)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, kind: LayerKind
) -> torch.Tensor:
    """query: (R, H, T, D); key, value: (R, H_kv, L, D); mask: boolean or None (causal where T > 1). (R, H, T, D)."""
    groups, num_tokens = query.shape[1] // key.shape[1], query.shape[2]
    if kind.cap is not None or kind.sinks is not None:
        return _attend_in_steps(query, key, value, mask, kind)
    if groups > 1 and mask is not None and num_tokens == 1:
        # The heads that share a key are queries of it: nothing is repeated.
        folded = query.reshape(query.shape[0], key.shape[1], groups, query.shape[3])
        out = scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=kind.scaling)
        return out.reshape(*query.shape[:3], value.shape[3])
    if groups > 1 and mask is not None:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    # The same calls as the library makes for one sequence, so that one sequence gets the same bits.
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None and num_tokens > 1,
        scale=kind.scaling,
        enable_gqa=groups > 1 and mask is None,
    )


def _poisoned(key: torch.Tensor, value: torch.Tensor) -> torch.Tensor | None:
    """Which tokens have keys or values that are not finite, (T,); None for none. key, value: (1, H_kv, T, D)."""
    if math.isfinite(float(key.sum(dtype=torch.float32) + value.sum(dtype=torch.float32))):
        return None
    return ~(key.isfinite().all(-1) & value.isfinite().all(-1)).all(1)[0]


def _attend_around(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    kind: LayerKind,
    poisoned: torch.Tensor,
) -> torch.Tensor:
    """As `_attend` for a row of which some new tokens, (T,), are poisoned: only who sees one of them gets no number.

    Else those before them would as well, since no number times a weight of 0 is none, and so would all that are later
    given the beginning of this row from the cache.
    """
    unread = pad(poisoned, (key.shape[2] - len(poisoned), 0))  # (L,)
    key, value = (one.masked_fill(unread[:, None], 0) for one in (key, value))
    new = (
        mask[..., -len(poisoned) :] if mask is not None else torch.ones_like(poisoned).expand(len(poisoned), -1).tril()
    )
    is_lost = (new & poisoned).any(-1)[..., None]  # (T, 1)
    return _attend(query, key, value, mask, kind).masked_fill(is_lost, torch.nan)


def _attend_in_steps(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, kind: LayerKind
) -> torch.Tensor:
    """Attention with capped logits or sinks, which the fused kernel does not have; as the library's eager form."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    weights = query @ key.transpose(2, 3) * kind.scaling  # (R, H, T, L)
    if kind.cap is not None:
        weights = torch.tanh(weights / kind.cap) * kind.cap
    if mask is not None:
        weights = weights.masked_fill(~mask, torch.finfo(weights.dtype).min)
    if kind.sinks is not None:
        sinks = kind.sinks.reshape(1, -1, 1, 1).expand(*weights.shape[:3], 1).to(weights.dtype)
        weights = torch.cat([weights, sinks], -1)
    weights = weights.softmax(-1, dtype=torch.float32).to(query.dtype)
    return weights[..., : key.shape[2]] @ value
