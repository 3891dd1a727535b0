"""`varlen_attn` in plain torch: what the kernel is held against, and what stands in for it where there is no GPU."""

from itertools import pairwise

import torch


def varlen_plain(
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
) -> torch.Tensor:
    """Row by row. Equals torch.nn.attention.varlen.varlen_attn over a paged cache.

    query: (T, H, D). key, value: (B, block, H_kv, D). The last query of a row stands at its last key; a query sees
    `window_size` keys before and behind its own, -1 meaning all. Raises ValueError where what is said of the rows
    does not fit together.
    """
    starts, lengths = cu_seq_q.tolist(), seqused_k.tolist()
    counts = [end - start for start, end in pairwise(starts)]
    if starts[-1] != len(query) or len(lengths) != len(counts) or max(counts) > max_q or max(lengths) > max_k:
        raise ValueError("the rows do not add up")
    if cu_seq_k is not None and (cu_seq_k.diff().tolist() != lengths):
        raise ValueError("the keys do not begin where they should")
    if not enable_gqa and query.shape[1] != key.shape[2]:
        raise ValueError("queries and keys differ in their heads")
    out = torch.empty_like(query)
    for row, (start, count, length) in enumerate(zip(starts, counts, lengths, strict=False)):
        keys, values = (store[block_table[row].long()].flatten(0, 1)[:length] for store in (key, value))
        out[start : start + count] = _attend(query[start : start + count], keys, values, scale, window_size)
    return out


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float | None, window: tuple[int, int]
) -> torch.Tensor:
    """query: (T, H, D); key, value: (L, H_kv, D). Returns (T, H, D), computed in float32 at least."""
    wide = torch.promote_types(query.dtype, torch.float32)
    groups = query.shape[1] // key.shape[1]
    key, value = (one.to(wide).repeat_interleave(groups, 1) for one in (key, value))
    scores = torch.einsum("thd,lhd->htl", query.to(wide), key) * (query.shape[-1] ** -0.5 if scale is None else scale)
    own = torch.arange(len(key) - len(query), len(key), device=query.device)[:, None]  # (T, 1)
    places = torch.arange(len(key), device=query.device)  # (L,)
    before, behind = window
    if before >= 0:
        scores = scores.masked_fill(places < own - before, -torch.inf)
    if behind >= 0:
        scores = scores.masked_fill(places > own + behind, -torch.inf)
    return torch.einsum("htl,lhd->thd", scores.softmax(-1), value).to(query.dtype)
