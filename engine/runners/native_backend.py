"""Runs a recognised decoder whole in the native kernels."""

from collections.abc import Sequence as Seq

import torch
from transformers import PreTrainedModel

from beamhouse.engine.native.stack import NativeStack, NativeStore
from beamhouse.engine.runners.torch_backend import TorchBackend, plain_attention
from beamhouse.engine.state.batch import Feed
from beamhouse.engine.state.block_cache import BlockCache


class NativeBackend:
    """One call a step. form: what is said of the weights beside the kernels' variant."""

    attention = "paged, native"

    def __init__(self, model: PreTrainedModel, stack: NativeStack, form: str) -> None:
        self._config, self._stack, self._model = model.config.get_text_config(decoder=True), stack, model
        self.plain, self.variant = plain_attention(model), stack.kernels.variant
        self.kernels = f"{self.variant}, whole decoder{form}"

    def instead(self, reason: str) -> TorchBackend:
        # The linear layers stay packed: they compute as the plain ones.
        return TorchBackend(self._model, f"{self.variant}, linear layers")

    def new_store(self, cache: BlockCache) -> NativeStore:
        return NativeStore(self._stack, cache.num_blocks, cache.block_size)

    def run(
        self, feeds: Seq[Feed], kept: Seq[int], layers: Seq[int], store: NativeStore
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        # As many layers as the configuration says: an early exit changes it for a while.
        return self._stack.forward(feeds, kept, layers, store, self._config.num_hidden_layers)

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._stack.project(hidden)
