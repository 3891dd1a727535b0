"""Runs decoder-only models over the paged cache: what a step feeds goes through a backend in one pass."""

import contextlib
import logging
from collections.abc import Iterator
from collections.abc import Sequence as Seq

import torch
from transformers import PreTrainedModel

from beamhouse.engine.attention.rotary import Turning, spans_of, turned
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.runners.backend import Backend, Store
from beamhouse.engine.runners.check import check
from beamhouse.engine.runners.context import end_of, made_for, num_positions
from beamhouse.engine.runners.cuda_backend import CudaBackend
from beamhouse.engine.runners.inspection import Inspector
from beamhouse.engine.runners.runner import Inspection, Seen
from beamhouse.engine.runners.torch_backend import TorchBackend, attending
from beamhouse.engine.state.batch import Batch, Feed, Forward
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Sequence

logger = logging.getLogger(__name__)


class PackedRunner:
    """One model and the tensors of its KV cache.

    `forward` feeds a batch and moves `num_cached` of its sequences forward; blocks must have been reserved.
    """

    name = "packed"

    def __init__(self, model: PreTrainedModel, cache: BlockCache, backend: Backend | None = None) -> None:
        """backend: what was picked for the model; None runs it through the library's own code."""
        self.model, self.cache, self.device = model, cache, model.device
        self.backend: Backend = backend or TorchBackend(model, "torch")
        self._store: Store = self.backend.new_store(cache)
        self._made_for, self._end = made_for(model), end_of(model)
        self._turning = Turning.of(model)
        self._inspector = Inspector(model, self._turning)

    @property
    def vocab_size(self) -> int:
        return int(self.model.get_output_embeddings().weight.shape[0])

    @torch.inference_mode()
    def forward(self, batch: Batch, num_layers: int | None = None, store: Store | None = None) -> Forward:
        """Run one step. num_layers: leave the model after so many layers; None: after the last.

        store: of the backend's own, what holds the keys and values of the batch instead of the runner's.
        """
        store = self._store if store is None else store
        if batch.copies:
            store.copy_blocks(batch.copies)
        kept, spans = _asked(batch.feeds)
        layers = sorted({layer for feed in batch.feeds if feed.num_hidden for layer in feed.layers})
        with turned(self._turning, spans_of(batch.feeds) if self._turning else ()):
            logits, states = self.backend.run(batch.feeds, kept, layers, store, num_layers)
        for feed in batch.feeds:
            feed.sequence.num_cached += len(feed.token_ids)
        return Forward(logits, spans, _hidden_of(batch.feeds, states))

    @torch.inference_mode()
    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (n, d) through the model's head alone: (n, V) float32."""
        return self.backend.project(hidden)

    def inspect(self, token_ids: Seq[int], inspection: Inspection) -> Iterator[Seen]:
        """Look into a finished sequence by one more pass over it, piece by piece."""
        return self._inspector.look(token_ids, inspection, self.backend.plain)

    def check(self) -> None:
        """Hold the packed forward against the model's own on a few tokens; ModelUnsupported where they differ.

        A decoder that only looks like those of the native kernels goes on through the library's code, and so does one
        on a GPU whose fast path goes wrong; a model that counts positions by its cache is given one that tells them.
        Where the fast path of a GPU is right, its steps may be recorded.
        """
        refused: list[ModelUnsupported] = []
        while True:
            try:
                check(self)
                break
            except ModelUnsupported as error:
                refused.append(error)
                instead = self._instead(error)
            if instead is None:
                # What the library's code did as it is says more than what it did with a past that is none.
                raise refused[max(0, len(refused) - 2)]
            self.backend, self._store = instead, instead.new_store(self.cache)
        if isinstance(self.backend, CudaBackend):
            if self._turning is None:
                self.backend.capture(self._store, self.cache, self.context_len)
            else:
                self.backend.kernels = "torch; no CUDA graphs: positions depend on the length of each sequence"

    def _instead(self, error: ModelUnsupported) -> Backend | None:
        logger.warning("%s does not compute this model: %s", self.backend.kernels, error)
        self.model.set_attn_implementation(self.backend.plain)
        return self.backend.instead(str(error))

    @property
    def is_attending(self) -> bool:
        """Whether attention has gone through the cache yet."""
        return self._store.is_used

    def attending(self, implementation: str | None = None) -> contextlib.AbstractContextManager[None]:
        """Let the model itself attend in one of the library's own ways for a while; None: in the one it came with."""
        return attending(self.model, implementation or self.backend.plain)

    @property
    def context_len(self) -> int:
        """The length the model is made for, or what the cache holds."""
        return _least(self._made_for, self.cache)

    @property
    def max_len(self) -> int:
        """Most tokens a sequence may have; where positions have no end, what the cache holds."""
        return _least(self._end, self.cache)

    @property
    def default_len(self) -> int:
        """Where a request that names no length ends at the latest, as a silent `generate()` does."""
        return min(num_positions(self.model) or self.max_len, self.max_len)


def _least(limit: int | None, cache: BlockCache) -> int:
    room = cache.num_blocks * cache.block_size
    return room if limit is None else min(limit, room)


def _asked(feeds: Seq[Feed]) -> tuple[list[int], dict[Sequence, range]]:
    """The places of the tokens whose logits are asked for, and which of the kept rows belong to each sequence."""
    kept: list[int] = []
    spans: dict[Sequence, range] = {}
    end = 0
    for feed in feeds:
        end += len(feed.token_ids)
        if feed.num_logits:
            spans[feed.sequence] = range(len(kept), len(kept) + feed.num_logits)
            kept.extend(range(end - feed.num_logits, end))
    return kept, spans


def _hidden_of(feeds: Seq[Feed], states: dict[int, torch.Tensor]) -> dict[Sequence, torch.Tensor]:
    """The states each sequence asked for, (layers, n, d). states: by layer, (T, d)."""
    hidden: dict[Sequence, torch.Tensor] = {}
    end = 0
    for feed in feeds:
        end += len(feed.token_ids)
        if feed.num_hidden:
            hidden[feed.sequence] = torch.stack([states[layer][end - feed.num_hidden : end] for layer in feed.layers])
    return hidden
