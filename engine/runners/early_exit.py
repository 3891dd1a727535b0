"""The first layers of a packed model and its head, over a cache of their own."""

import torch

from beamhouse.engine.runners.backend import Store
from beamhouse.engine.runners.layer_list import LayerList
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.state.batch import Batch, Forward
from beamhouse.engine.state.block_cache import BlockCache


class EarlyExitRunner:
    """Shares a runner's model; `num_layers` says after which layer the next passes leave it.

    The keys and values are other tensors than the runner's: a draft must not change what the whole model has cached.
    Raises ModelUnsupported for a model whose layers are not one list.
    """

    name = "early exit"

    def __init__(self, runner: PackedRunner, cache: BlockCache) -> None:
        self._runner, self._cache = runner, cache
        self.device: torch.device = runner.device
        self._store: Store | None = None
        self.num_layers = len(LayerList(runner.model))

    @property
    def vocab_size(self) -> int:
        return self._runner.vocab_size

    @property
    def max_len(self) -> int:
        return self._runner.max_len

    def forward(self, batch: Batch) -> Forward:
        # Made when it is first needed, since most servers never draft like this.
        if self._store is None:
            self._store = self._runner.backend.new_store(self._cache)
        return self._runner.forward(batch, self.num_layers, self._store)

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._runner.project(hidden)
