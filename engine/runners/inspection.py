"""Hidden states and attention maps of a finished sequence, from one more pass over it: what is asked for, in pieces.

The pass goes on piece by piece, so that whoever waits waits for one of them. Where a piece holds queries whose maps
somebody wants to see, attention is the model's own eager one, for a few queries at a time: no map is ever whole, and of
each slice only those queries are kept.
"""

import sys
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.masking_utils import eager_mask

from beamhouse.engine.attention.paged import UnsupportedAttention
from beamhouse.engine.attention.rotary import PositionRun, Turning, turned
from beamhouse.engine.runners.runner import Inspection, Seen
from beamhouse.engine.runners.torch_backend import attending
from beamhouse.engine.state.decoder_config import decoder_config

PIECE_TOKENS = 32
SLICE_ENTRIES = 2**22
"""Most entries of the attention maps that are computed at a time, 4 bytes each."""

NAME = "beamhouse_inspecting"

Eager = Callable[..., tuple[Tensor, Tensor]]


class Inspector:
    """Looks into one model. Not more than one piece is computed at a time."""

    def __init__(self, model: PreTrainedModel, turning: Turning | None = None) -> None:
        """turning: of a model whose positions depend on how many tokens are computed at once."""
        self._model, self._turning = model, turning
        self._config = decoder_config(model.config)
        self._maps: dict[int, list[Tensor]] = {}
        self._layers: frozenset[int] = frozenset()
        self._rows: list[int] = []

    def look(self, token_ids: Seq[int], inspection: Inspection, plain: str) -> Iterator[Seen]:
        """One `Seen` after each piece of the sequence up to the last place asked for. plain: how the model attends.

        Where the library computed the sequence anew on the way, there are two passes: up to there, and of all.
        """
        at_once, renewed_at = inspection.num_prompt, 0 if self._turning is None else self._turning.stretch.renewed_at
        if at_once < renewed_at <= len(token_ids):
            early, late = (
                replace(
                    inspection, places=[place for place in inspection.places if (place < renewed_at - 1) is is_early]
                )
                for is_early in (True, False)
            )
            yield from self._look(token_ids, early, plain, at_once)
            yield from self._look(token_ids, late, plain, renewed_at)
        else:
            yield from self._look(token_ids, inspection, plain, at_once)

    def _look(self, token_ids: Seq[int], inspection: Inspection, plain: str, at_once: int) -> Iterator[Seen]:
        end = min(len(token_ids), inspection.places[-1] + 1) if inspection.places else 0
        cache = DynamicCache()
        for start in range(0, end, PIECE_TOKENS):
            piece = token_ids[start : min(end, start + PIECE_TOKENS)]
            places = [place for place in inspection.places if start <= place < start + len(piece)]
            with turned(self._turning, [PositionRun(start, start + len(piece), at_once)]):
                seen = self._pass(piece, cache, start, places, inspection, plain)
            yield seen

    @torch.inference_mode()
    def _pass(
        self, piece: Seq[int], cache: DynamicCache, start: int, places: list[int], inspection: Inspection, plain: str
    ) -> Seen:
        num_layers = self._config.num_hidden_layers
        self._maps, self._rows = {}, [place - start for place in places]
        self._layers = frozenset(inspection.of_layers(num_layers) if inspection.attentions and places else ())
        if self._layers:
            AttentionInterface.register(NAME, self._attend)
            AttentionMaskInterface.register(NAME, eager_mask)
        with attending(self._model, NAME if self._layers else plain):
            out: Any = self._model(
                input_ids=torch.tensor([list(piece)], device=self._model.device),
                past_key_values=cache,
                use_cache=True,
                output_hidden_states=inspection.hidden_states,
                logits_to_keep=1,
            )
        if self._maps.keys() != self._layers:
            raise UnsupportedAttention("this model's attention does not come by the library's interface")
        states = inspection.of_layers(num_layers + 1) if inspection.hidden_states else []
        return Seen(
            places,
            {layer: out.hidden_states[layer][0][self._rows].float().cpu() for layer in states},
            {layer: torch.cat(maps).float().cpu() for layer, maps in self._maps.items()},
        )

    def _attend(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, None]:
        """The library's interface. query: (1, H, n, D)."""
        eager: Eager | None = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        if eager is None:
            raise UnsupportedAttention(f"{type(module).__name__} has no eager attention")
        num_heads, num_queries = query.shape[1:3]
        size = max(1, SLICE_ENTRIES // (num_heads * key.shape[2]))
        layer, parts = getattr(module, "layer_idx", None), []
        for start in range(0, num_queries, size):
            end = min(num_queries, start + size)
            cut = None if mask is None else mask[..., start:end, :]
            part, weights = eager(module, query[:, :, start:end], key, value, cut, **options)
            parts.append(part)
            rows = [row - start for row in self._rows if start <= row < end]
            if rows and layer in self._layers:
                self._maps.setdefault(layer, []).append(weights[0][:, rows].transpose(0, 1))
        return torch.cat(parts, dim=1), None
