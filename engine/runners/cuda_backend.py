"""Runs a decoder on a GPU: attention in one call a layer, and recorded steps where every row feeds one token."""

import logging
from collections.abc import Sequence as Seq
from typing import Any

import torch
from transformers import PreTrainedModel

from beamhouse.engine.attention.block_tables import BufferLayout, StepNumbers, stage
from beamhouse.engine.attention.varlen import VarlenAttention, VarlenKernel
from beamhouse.engine.runners.check import ALLOWED, ALLOWED_OF_TWO_BYTES
from beamhouse.engine.runners.cuda_graphs import BUCKETS, Record, StepGraphs
from beamhouse.engine.runners.torch_backend import TorchBackend
from beamhouse.engine.state.batch import Feed
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Sequence

logger = logging.getLogger(__name__)


class CudaBackend:
    """The library's own code for all but attention, which reads the cache through block tables.

    record: makes recordings; nothing is recorded before `capture`.
    """

    variant = "torch"

    def __init__(self, model: PreTrainedModel, kernel: VarlenKernel, record: Record) -> None:
        self._model, self._kernel, self._record = model, kernel, record
        self._torch = TorchBackend(model, "torch")
        self.plain, self.kernels, self.attention = self._torch.plain, "torch", kernel.name
        self._graphs: StepGraphs | None = None
        self._recorded: VarlenAttention | None = None

    def instead(self, reason: str) -> TorchBackend:
        return TorchBackend(self._model, "torch", f"paged, torch; no varlen attention: {reason}")

    def new_store(self, cache: BlockCache) -> VarlenAttention:
        # One block more than the cache gives out, for rows that only pad a step.
        return VarlenAttention(self._torch.new_store(cache, num_spare=1), self._kernel, self._model.dtype)

    def run(
        self, feeds: Seq[Feed], kept: Seq[int], layers: Seq[int], store: VarlenAttention, num_layers: int | None = None
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        graphs = self._graphs if store is self._recorded and num_layers is None else None
        if graphs is not None and not layers and _are_single(feeds):
            logits = graphs.run(feeds)
            if logits is not None:
                return logits if len(kept) == len(feeds) else logits[list(kept)], {}
        layout, device = BufferLayout.of(feeds, len(kept)), self._model.device
        # Nothing of these feeds' numbers is left over, so that the spare block is not needed.
        host = stage(layout, feeds, kept, store.block_size, 0, is_pinned=device.type == "cuda")
        return self._compute(layout.views(host.to(device, non_blocking=True)), feeds, layers, store, num_layers)

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._torch.project(hidden)

    @torch.inference_mode()
    def capture(self, store: Any, cache: BlockCache, context_len: int) -> None:  # Any: one of the backend's own
        """Record every bucket and hold it against the plain pass; if one fails, no step will be played back.

        To be called after a pass and before the first request: what free blocks hold is written over.
        """
        if store.left_out:
            self.attention = f"{self._kernel.name}; in torch: {', '.join(store.left_out)}"
        width = cache.num_blocks_for(min(context_len, cache.num_blocks * cache.block_size))
        graphs = StepGraphs(
            lambda step: self._compute(step, None, (), store)[0],
            self._record,
            width,
            cache.block_size,
            cache.num_blocks,
        )
        try:
            # The largest first: the others find room in its memory.
            for num_rows in reversed(BUCKETS):
                graphs.capture(num_rows, self._model.device)
                self._compare(graphs, self._trial(num_rows, cache, context_len), store)
        except Exception as error:  # whatever the device, torch or a model say to being recorded
            reason = str(error).strip().split("\n")[0]
            self.kernels = f"torch; no CUDA graphs: {reason}"
            logger.warning("steps are not recorded as CUDA graphs: %s", reason)
            return
        self._graphs, self._recorded, self.kernels = graphs, store, "torch, CUDA graphs"

    def _compute(
        self,
        step: StepNumbers,
        feeds: Seq[Feed] | None,
        layers: Seq[int],
        store: VarlenAttention,
        num_layers: int | None = None,
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        store.begin(step, feeds)
        try:
            return self._torch.compute(step.token_ids[None], step.positions[None], step.kept, layers, store, num_layers)
        finally:
            store.end()

    def _compare(self, graphs: StepGraphs, feeds: Seq[Feed], store: VarlenAttention) -> None:
        """Raises ValueError where a recording gives something else than the plain pass."""
        expected, _ = self.run(feeds, range(len(feeds)), (), store)
        actual = graphs.run(feeds)
        assert actual is not None
        drift, scale = float((actual - expected).abs().max()), float(expected.abs().max())
        if not drift <= scale * ALLOWED.get(self._model.dtype, ALLOWED_OF_TWO_BYTES):
            raise ValueError(f"{len(feeds)} rows played back give other logits than alone, by {drift:.2g}")

    def _trial(self, num_rows: int, cache: BlockCache, context_len: int) -> list[Feed]:
        """Rows of different tokens and lengths, as many as there are blocks."""
        vocab_size = int(self._model.get_output_embeddings().weight.shape[0])
        feeds = []
        for row in range(min(num_rows, cache.num_blocks)):
            num_cached, token = row % min(cache.block_size, context_len), row % vocab_size
            sequence = Sequence([token] * (num_cached + 1), num_prompt=1, num_cached=num_cached, block_ids=[row])
            feeds.append(Feed(sequence, [token]))
        return feeds


def _are_single(feeds: Seq[Feed]) -> bool:
    return all(len(feed.token_ids) == 1 for feed in feeds)
