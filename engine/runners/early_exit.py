"""The first layers of a packed model and its head, over a cache of their own."""

import contextlib
from collections.abc import Iterator
from collections.abc import Sequence as Seq

import torch
from torch.nn import Module, ModuleList

from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.runners.backend import Store
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.runners.runner import Seen, Wish
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
        self._config = runner.model.config.get_text_config(decoder=True)
        self._store: Store | None = None
        self.max_layers = self.num_layers = int(self._config.num_hidden_layers)
        self._decoder, self._field = _find_layers(runner.model.get_decoder(), self.max_layers)
        self._layers: ModuleList = getattr(self._decoder, self._field)

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
        with self._runner.storing_in(self._cache, self._store), self._left_early():
            return self._runner.forward(batch)

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._runner.project(hidden)

    def inspect(self, token_ids: Seq[int], wish: Wish) -> Iterator[Seen]:
        with self._left_early():
            yield from self._runner.inspect(token_ids, wish)

    @contextlib.contextmanager
    def _left_early(self) -> Iterator[None]:
        """Some architectures run the layers there are, others as many as the configuration says."""
        setattr(self._decoder, self._field, self._layers[: self.num_layers])
        self._config.num_hidden_layers = self.num_layers
        try:
            yield
        finally:
            setattr(self._decoder, self._field, self._layers)
            self._config.num_hidden_layers = self.max_layers


def _find_layers(decoder: Module, num_layers: int) -> tuple[Module, str]:
    """The module that holds the list of layers, and its attribute. Raises ModelUnsupported."""
    for module in decoder.modules():
        for name, child in module.named_children():
            if isinstance(child, ModuleList) and len(child) == num_layers:
                return module, name
    raise ModelUnsupported(f"{type(decoder).__name__} has no list of {num_layers} layers")
