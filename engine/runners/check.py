"""Holds a runner against the model it runs."""

from collections.abc import Sequence as Seq
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from transformers import PreTrainedModel

from engine.attention.paged import UnsupportedAttention
from engine.batch import Batch, Feed, Forward
from engine.cache import BlockCache
from engine.errors import ModelUnsupported
from engine.request import Sequence

ALLOWED = {torch.float32: 1e-3}
"""How far logits may be off, as a share of the largest; more in types of two bytes."""
ALLOWED_OF_TWO_BYTES = 6e-2


class Checked(Protocol):
    """What a check needs of a runner."""

    model: PreTrainedModel
    cache: BlockCache

    @property
    def vocab_size(self) -> int: ...
    @property
    def context_len(self) -> int: ...
    @property
    def is_attending(self) -> bool: ...
    def attending(self, implementation: str | None = None) -> AbstractContextManager[None]: ...
    def forward(self, batch: Batch) -> Forward: ...


@torch.inference_mode()
def check(runner: Checked) -> None:
    """Compare packed logits with the model's own. Raises ModelUnsupported where they differ.

    Two sequences, one of them fed in parts, long enough to cross blocks and, where it is short, the window.
    """
    model, kind = runner.model, type(runner.model).__name__
    room = runner.cache.num_blocks // 2 * runner.cache.block_size
    if room < 2:
        raise ModelUnsupported(f"the cache has {runner.cache.num_blocks} blocks; two are needed to check a model")
    num_tokens = min(3 * runner.cache.block_size + 3, runner.context_len - 1, room)
    tokens = torch.randint(0, runner.vocab_size, (2, num_tokens), generator=torch.Generator().manual_seed(0))
    with runner.attending():
        plain = [model(input_ids=row[None].to(model.device), use_cache=False).logits for row in tokens]
    expected = [logits[0, -1].float() for logits in plain]
    sequences = [Sequence(row.tolist(), num_prompt=num_tokens) for row in tokens]
    try:
        actual = _feed_in_parts(runner, sequences)
    except (UnsupportedAttention, RuntimeError, AttributeError, KeyError, TypeError) as error:
        raise ModelUnsupported(f"{kind} does not run packed: {error}") from error
    finally:
        for sequence in sequences:
            runner.cache.free(sequence)
    if not runner.is_attending:
        raise ModelUnsupported(f"{kind} does not attend through the library's attention interface")
    drift = max(float((a - e).abs().max()) for a, e in zip(actual, expected, strict=True))
    scale = max(float(row.abs().max()) for row in expected)
    allowed = scale * ALLOWED.get(model.dtype, ALLOWED_OF_TWO_BYTES)
    if not drift <= allowed:
        raise ModelUnsupported(f"{kind} gives other logits packed than alone: by {drift:.2g}, allowed {allowed:.2g}")


def _feed_in_parts(runner: Checked, sequences: Seq[Sequence]) -> list[torch.Tensor]:
    whole = len(sequences[0].token_ids)
    logits: list[torch.Tensor] = []
    for ends in ((whole // 2, whole - 1), (whole, whole)):
        feeds = []
        for sequence, end in zip(sequences, ends, strict=True):
            runner.cache.reserve(sequence, end - sequence.num_cached)
            feeds.append(Feed(sequence, sequence.token_ids[sequence.num_cached : end]))
        forward = runner.forward(Batch(feeds, []))
        logits = [forward.last([sequence])[0] for sequence in sequences]
    return logits
