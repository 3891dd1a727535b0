"""Recognises decoders that the kernels can run whole, by what their modules are, not by their names in a list.

Whatever is not certain to be what the kernels compute is turned away here; what slips through is caught by the runner's
check, which holds the logits against the model's own.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

STATIC_ROPES = frozenset({"default", "linear", "llama3", "yarn"})
"""Kinds of rotary positions whose angles depend on the position alone."""

MOST_SHARING = 56
"""Query heads that may share a key head: `kQueryRows` in src/attention.h."""


class OtherArchitecture(Exception):
    """The decoder is not of the kind the kernels run; the message says in what."""


@dataclass(frozen=True, slots=True)
class DecoderParts:
    """The modules of a decoder and the sizes of its layers. windows: of each layer, 0 where it sees everything."""

    embedding: nn.Embedding
    layers: list[Any]  # Any: modules of the architecture
    norm: Any
    rotary: Any
    head: nn.Linear
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    eps: float
    scaling: float
    windows: list[int]


def recognize(model: PreTrainedModel) -> DecoderParts:
    """The parts of a decoder of norms, rotary positions and gated feed-forward layers. Raises OtherArchitecture."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    _require(_children(decoder) == {"embed_tokens", "layers", "norm", "rotary_emb"}, "parts of the decoder")
    _require(type(decoder.embed_tokens) is nn.Embedding, "a scaled embedding")
    _require(type(head) is nn.Linear and head.bias is None, "the head")
    _require(getattr(decoder.rotary_emb, "rope_type", None) in STATIC_ROPES, "the rotary positions")
    layers = list(decoder.layers)
    for layer in layers:
        _check_layer(layer)
    config = model.config.get_text_config(decoder=True)
    attention, mlp = layers[0].self_attn, layers[0].mlp
    head_dim = int(attention.head_dim)
    heads, kv_heads = attention.q_proj.out_features // head_dim, attention.k_proj.out_features // head_dim
    _require(head_dim % 16 == 0 and config.hidden_size % 16 == 0, "sizes that are no multiple of 16")
    _require(mlp.gate_proj.out_features % 16 == 0, "sizes that are no multiple of 16")
    _require(heads % kv_heads == 0 and heads // kv_heads <= MOST_SHARING, "the number of heads")
    return DecoderParts(
        decoder.embed_tokens,
        layers,
        decoder.norm,
        decoder.rotary_emb,
        head,
        heads,
        kv_heads,
        head_dim,
        int(mlp.gate_proj.out_features),
        _same(_epsilon(norm) for layer in layers for norm in (layer.input_layernorm, layer.post_attention_layernorm)),
        _same(float(layer.self_attn.scaling) for layer in layers),
        [_window(config, layer.self_attn, number) for number, layer in enumerate(layers)],
    )


def angles(parts: DecoderParts, num_positions: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines as the model computes them, (positions, rotary_dim / 2) float32. Raises OtherArchitecture."""
    positions = torch.arange(num_positions)[None]
    cosines, sines = parts.rotary(torch.empty(1, 1, 1, dtype=dtype), positions)
    halves = [table[0].float().chunk(2, dim=-1) for table in (cosines, sines)]
    _require(all(torch.equal(low, high) for low, high in halves), "the layout of rotary positions")
    _require(2 * halves[0][0].shape[1] <= parts.head_dim, "the layout of rotary positions")
    return halves[0][0].contiguous(), halves[1][0].contiguous()


def _check_layer(layer: Any) -> None:
    _require(
        _children(layer) == {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}, "parts of a layer"
    )
    attention, mlp = layer.self_attn, layer.mlp
    projections = {"q_proj", "k_proj", "v_proj", "o_proj"}
    _require(_children(attention) in (projections, projections | {"q_norm", "k_norm"}), "parts of attention")
    _require(_children(mlp) == {"gate_proj", "up_proj", "down_proj", "act_fn"}, "parts of the feed-forward layer")
    linears = [getattr(attention, name) for name in projections] + [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    _require(all(type(linear) is nn.Linear for linear in linears), "a projection that is not linear")
    _require(isinstance(mlp.act_fn, nn.SiLU) or type(mlp.act_fn).__name__ == "SiLUActivation", "the activation")
    for module in (layer, attention):
        extra = [name for name, _ in module.named_parameters(recurse=False)]
        _require(not extra, f"the parameter {', '.join(extra)}")
    for name in ("q_norm", "k_norm"):
        if hasattr(attention, name):
            norm = getattr(attention, name)
            _require(_epsilon(norm) == _epsilon(layer.input_layernorm), "the norms")
            _require(norm.weight.shape == (attention.head_dim,), "a norm over all heads")


def _epsilon(norm: Any) -> float:
    _require(hasattr(norm, "variance_epsilon") and getattr(norm, "bias", None) is None, "the norms")
    return float(norm.variance_epsilon)


def _window(config: Any, attention: Any, number: int) -> int:
    """Positions a layer's queries see, 0 for all."""
    types = getattr(config, "layer_types", None)
    kind = types[number] if types else None
    _require(kind in (None, "full_attention", "sliding_attention"), f"attention of the kind {kind}")
    if kind == "full_attention":
        return 0
    window = getattr(attention, "sliding_window", None)
    if window is None:
        window = getattr(config, "sliding_window", None)
    return int(window or 0)


def _children(module: Any) -> set[str]:
    return {name for name, _ in module.named_children()}


def _same(values: Any) -> float:
    found = set(values)
    _require(len(found) == 1, "layers that differ")
    return float(found.pop())


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise OtherArchitecture(what)
