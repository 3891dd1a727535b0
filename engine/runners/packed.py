"""Runs decoder-only models: the tokens of all sequences as one row, through the library's attention interface.

No model code is touched. The model sees `(1, T)` tokens with their positions; only attention, which this runner
supplies, knows where one sequence ends and the next begins.
"""

import contextlib
import weakref
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel

from engine.attention.paged import PagedAttention, UnsupportedAttention
from engine.attention.plan import Plan, build_plan
from engine.batch import Batch, Feed, Forward
from engine.cache import BlockCache
from engine.errors import ModelUnsupported
from engine.request import Sequence
from engine.runners.runner import Inspection


class PackedRunner:
    """One model and the tensors of its KV cache.

    `forward` feeds a batch and moves `num_cached` of its sequences forward; blocks must have been reserved.
    """

    name = "packed"

    def __init__(self, model: PreTrainedModel, cache: BlockCache) -> None:
        self.model, self.cache, self.device = model, cache, model.device
        self._attention = PagedAttention(text_config(model), cache.num_blocks * cache.block_size)
        self._plain = model.config._attn_implementation or "eager"
        # The library's table of attention functions lives as long as the process; it must not keep the cache alive.
        runner, self._name = weakref.ref(self), f"beamhouse_paged_{id(self)}"
        AttentionInterface.register(self._name, lambda *args, **kwargs: runner()._attention(*args, **kwargs))  # type: ignore[union-attr]
        model.set_attn_implementation(self._name)

    @property
    def vocab_size(self) -> int:
        return int(self.model.get_output_embeddings().weight.shape[0])

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Forward:
        """Run one step."""
        for copy in batch.copies:
            self._attention.copy_block(copy.source, copy.target, self.cache.block_size)
        plan = build_plan(batch.feeds, self.cache.block_size, self.device)
        token_ids = torch.tensor([[t for feed in batch.feeds for t in feed.token_ids]], device=self.device)
        kept, spans = self._asked(batch.feeds)
        self._attention.plan = plan
        layers = sorted({layer for feed in batch.feeds if feed.num_hidden for layer in feed.layers})
        try:
            logits, states = self._run(token_ids, self._positions(batch.feeds, plan), kept, layers)
        finally:
            self._attention.plan = None
        for feed in batch.feeds:
            feed.sequence.num_cached += len(feed.token_ids)
        return Forward(logits, spans, _hidden_of(batch.feeds, states))

    @contextlib.contextmanager
    def storing_in(self, cache: BlockCache, attention: PagedAttention) -> Iterator[None]:
        """Keep keys and values elsewhere for a while. cache: the accounting of the slots that `attention` holds."""
        own = self.cache, self._attention
        self.cache, self._attention = cache, attention
        try:
            yield
        finally:
            self.cache, self._attention = own

    @torch.inference_mode()
    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (n, d) through the model's head alone: (n, V) float32."""
        logits: torch.Tensor = self.model.get_output_embeddings()(hidden)
        return logits.float()

    @torch.inference_mode()
    def inspect(self, token_ids: Seq[int], *, hidden_states: bool, attentions: bool) -> Inspection:
        """Hidden states and attention maps of a finished sequence, from one more pass over all of it."""
        with self._attending("eager" if attentions else self._plain):
            out = self.model(
                input_ids=torch.tensor([list(token_ids)], device=self.device),
                use_cache=False,
                output_hidden_states=hidden_states,
                output_attentions=attentions,
            )
        return Inspection(
            [layer[0].float().cpu() for layer in out.hidden_states or ()],
            [layer[0].float().cpu() for layer in out.attentions or ()],
        )

    @torch.inference_mode()
    def check(self) -> None:
        """Hold the packed forward against the model's own on a few tokens; ModelUnsupported where they differ.

        Two sequences, one of them fed in parts, long enough to cross blocks and, where it is short, the window.
        """
        generator = torch.Generator().manual_seed(0)
        num_tokens = min(3 * self.cache.block_size + 3, self.context_len - 1)
        tokens = torch.randint(0, self.vocab_size, (2, num_tokens), generator=generator)
        with self._attending(self._plain):
            plain = [self.model(input_ids=row[None].to(self.device), use_cache=False).logits for row in tokens]
        expected = [logits[0, -1].float() for logits in plain]
        sequences = [Sequence(row.tolist(), num_prompt=num_tokens) for row in tokens]
        try:
            actual = self._feed_in_parts(sequences)
        except (UnsupportedAttention, RuntimeError, AttributeError, KeyError, TypeError) as error:
            raise ModelUnsupported(f"{type(self.model).__name__} does not run packed: {error}") from error
        finally:
            for sequence in sequences:
                self.cache.free(sequence)
        if not self._attention.keys:
            kind = type(self.model).__name__
            raise ModelUnsupported(f"{kind} does not attend through the library's attention interface")
        scale = max(float(row.abs().max()) for row in expected)
        drift = max(float((a - e).abs().max()) for a, e in zip(actual, expected, strict=True))
        allowed = scale * (1e-3 if self.model.dtype == torch.float32 else 6e-2)
        if not drift <= allowed:
            kind = type(self.model).__name__
            raise ModelUnsupported(
                f"{kind} gives other logits packed than alone: by {drift:.2g}, allowed {allowed:.2g}"
            )

    @property
    def context_len(self) -> int:
        """Most tokens a sequence may have; without a limit in the configuration, what the cache holds."""
        limit = getattr(text_config(self.model), "max_position_embeddings", None)
        room = self.cache.num_blocks * self.cache.block_size
        return min(limit, room) if limit and limit > 0 else room

    def _feed_in_parts(self, sequences: list[Sequence]) -> list[torch.Tensor]:
        half = len(sequences[0].token_ids) // 2
        logits: dict[Sequence, torch.Tensor] = {}
        for ends in (
            (half, len(sequences[1].token_ids) - 1),
            (len(sequences[0].token_ids), len(sequences[1].token_ids)),
        ):
            feeds = []
            for sequence, end in zip(sequences, ends, strict=True):
                self.cache.reserve(sequence, end - sequence.num_cached)
                feeds.append(Feed(sequence, sequence.token_ids[sequence.num_cached : end]))
            forward = self.forward(Batch(feeds, []))
            logits = {sequence: forward.last([sequence])[0] for sequence in sequences}
        return [logits[sequence] for sequence in sequences]

    def _run(
        self, token_ids: torch.Tensor, positions: torch.Tensor, kept: torch.Tensor, layers: Seq[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """The logits of the `kept` tokens, (N, V) float32, and the hidden states of some layers, (T, d) each."""
        wants_states = {"output_hidden_states": True} if layers else {}
        # 0 keeps the logits of every token, which needs no picking.
        keep = 0 if len(kept) == token_ids.shape[1] else kept
        out: Any = self.model(
            input_ids=token_ids, position_ids=positions, use_cache=False, logits_to_keep=keep, **wants_states
        )
        logits: torch.Tensor = out.logits[0]
        # Architectures without `logits_to_keep` answer for every token.
        logits = (logits if len(logits) == len(kept) else logits[kept]).float()
        return logits, {layer: out.hidden_states[layer][0] for layer in layers}

    def _positions(self, feeds: Seq[Feed], plan: Plan) -> torch.Tensor:
        """Where each token stands for the model, (1, T): masked positions before a sequence count."""
        if not any(feed.sequence.num_masked for feed in feeds):
            return plan.positions[None]
        masked = torch.tensor([feed.sequence.num_masked for feed in feeds for _ in feed.token_ids], device=self.device)
        return (plan.positions + masked)[None]

    @contextlib.contextmanager
    def _attending(self, implementation: str) -> Iterator[None]:
        """Let the model attend in one of the library's own ways for a while."""
        self.model.set_attn_implementation(implementation)
        try:
            yield
        finally:
            self.model.set_attn_implementation(self._name)

    def _asked(self, feeds: Seq[Feed]) -> tuple[torch.Tensor, dict[Sequence, range]]:
        """The places of the tokens whose logits are asked for, and which of the kept rows belong to each sequence."""
        kept: list[int] = []
        spans: dict[Sequence, range] = {}
        end = 0
        for feed in feeds:
            end += len(feed.token_ids)
            if feed.num_logits:
                spans[feed.sequence] = range(len(kept), len(kept) + feed.num_logits)
                kept.extend(range(end - feed.num_logits, end))
        return torch.tensor(kept, dtype=torch.int64, device=self.device), spans


def _hidden_of(feeds: Seq[Feed], states: dict[int, torch.Tensor]) -> dict[Sequence, torch.Tensor]:
    """The states each sequence asked for, (layers, n, d). states: by layer, (T, d)."""
    hidden: dict[Sequence, torch.Tensor] = {}
    end = 0
    for feed in feeds:
        end += len(feed.token_ids)
        if feed.num_hidden:
            hidden[feed.sequence] = torch.stack([states[layer][end - feed.num_hidden : end] for layer in feed.layers])
    return hidden


def text_config(model: PreTrainedModel) -> Any:  # Any: a transformers configuration
    """The part of a model's configuration that describes its decoder."""
    return model.config.get_text_config(decoder=True)
