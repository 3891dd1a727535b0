"""Runs any decoder through the library's own code: the tokens of all sequences as one row.

No model code is touched. The model sees `(1, T)` tokens with their positions; only attention, which comes through the
library's attention interface, knows where one sequence ends and the next begins.
"""

import contextlib
import weakref
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from typing import Any, Protocol

import torch
from transformers import AttentionInterface, Cache, PreTrainedModel

from beamhouse.engine.attention.attention_plan import AttentionPlan, build_plan
from beamhouse.engine.attention.paged import PagedAttention, UnsupportedAttention
from beamhouse.engine.runners.layer_list import LayerList
from beamhouse.engine.state.batch import Feed
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.decoder_config import decoder_config


class Attending(Protocol):
    """A store that computes attention over what it holds, in the form of the library's attention interface."""

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]: ...  # Any: the library's interface


class TellingPast(Cache):
    """In the place of a cache, for models that ask it how many tokens came before and count positions from there.

    It keeps nothing, and tells of each token (T,) what, added to its place in the step, gives its position.
    """

    def __init__(self, positions: torch.Tensor) -> None:
        super().__init__(layers=[])
        self._before = positions - torch.arange(len(positions), device=positions.device)

    def get_seq_length(self, layer_idx: int = 0) -> Any:  # Any: the library counts on one number
        return self._before

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return key_states, value_states


class TorchBackend:
    """kernels, attention: what computes the linear layers, and what attends, in words. tells_past: see TellingPast."""

    variant = "torch"

    def __init__(
        self, model: PreTrainedModel, kernels: str, attention: str = "paged, torch", *, tells_past: bool = False
    ) -> None:
        self.kernels, self.attention, self._model, self._tells_past = kernels, attention, model, tells_past
        self.plain = plain_attention(model)
        self._config = decoder_config(model.config)
        self._store: Attending | None = None
        self._layers: LayerList | None = None
        # The library's table of attention functions lives as long as the process; it must not keep the cache alive.
        backend, name = weakref.ref(self), f"beamhouse_paged_{id(self)}"
        AttentionInterface.register(name, lambda *args, **kwargs: backend()._attend(*args, **kwargs))  # type: ignore[union-attr]
        model.set_attn_implementation(name)

    def instead(self, reason: str) -> "TorchBackend | None":
        return None if self._tells_past else TorchBackend(self._model, self.kernels, self.attention, tells_past=True)

    def new_store(self, cache: BlockCache, num_spare: int = 0) -> PagedAttention:
        """num_spare: blocks behind those of the cache, which no sequence is given."""
        return PagedAttention(self._config, cache.num_blocks + num_spare, cache.block_size)

    def run(
        self, feeds: Seq[Feed], kept: Seq[int], layers: Seq[int], store: PagedAttention, num_layers: int | None = None
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        plan = build_plan(feeds, store.block_size, self._model.device)
        token_ids = torch.tensor([[t for feed in feeds for t in feed.token_ids]], device=self._model.device)
        places = torch.tensor(kept, dtype=torch.int64, device=self._model.device)
        store.plan = plan
        try:
            return self.compute(token_ids, self._positions(feeds, plan), places, layers, store, num_layers)
        finally:
            store.plan = None

    def compute(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        kept: torch.Tensor,
        layers: Seq[int],
        store: Attending,
        num_layers: int | None = None,
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """One pass over tokens (1, T) at positions (1, T), attending through a store that knows the step. As `run`."""
        self._store = store
        try:
            with self._cut(num_layers):
                return self._compute(token_ids, positions, kept, layers)
        finally:
            self._store = None

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model.get_output_embeddings()(hidden)
        return logits.float()

    def _cut(self, num_layers: int | None) -> contextlib.AbstractContextManager[None]:
        if num_layers is None:
            return contextlib.nullcontext()
        if self._layers is None:
            self._layers = LayerList(self._model)
        return self._layers.cut(num_layers)

    def _attend(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:  # Any: the library's interface
        if self._store is None:
            raise UnsupportedAttention("attention was called outside a step")
        return self._store(*args, **kwargs)

    def _compute(
        self, token_ids: torch.Tensor, positions: torch.Tensor, kept: torch.Tensor, layers: Seq[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        more: dict[str, Any] = {"output_hidden_states": True} if layers else {}
        if self._tells_past:
            more["past_key_values"] = TellingPast(positions[0])
        # 0 keeps the logits of every token, which needs no picking.
        keep = 0 if len(kept) == token_ids.shape[1] else kept
        out: Any = self._model(
            input_ids=token_ids, position_ids=positions, use_cache=False, logits_to_keep=keep, **more
        )
        logits: torch.Tensor = out.logits[0]
        # Architectures without `logits_to_keep` answer for every token.
        logits = (logits if len(logits) == len(kept) else logits[kept]).float()
        return logits, {layer: out.hidden_states[layer][0] for layer in layers}

    def _positions(self, feeds: Seq[Feed], plan: AttentionPlan) -> torch.Tensor:
        """Where each token stands for the model, (1, T): masked positions before a sequence count."""
        if not any(feed.sequence.num_masked for feed in feeds):
            return plan.positions[None]
        masked = [feed.sequence.num_masked for feed in feeds for _ in feed.token_ids]
        return (plan.positions + torch.tensor(masked, device=plan.positions.device))[None]


def plain_attention(model: PreTrainedModel) -> str:
    """Which of the library's ways of attention a model came with."""
    return model.config._attn_implementation or "eager"


@contextlib.contextmanager
def attending(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Let a model attend in another way for a while."""
    before = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
