"""Recognises decoders that the kernels can run whole, by what their modules are and compute, not by a list of names.

Whatever is not certain to be what the kernels compute is turned away here; what slips through is caught by the runner's
check, which holds the logits against the model's own.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from beamhouse.engine.attention.rotary import PositionRun, RotaryRows
from beamhouse.engine.native import layouts
from beamhouse.engine.native.layouts import Attention, FeedForward, LayerLayout
from beamhouse.engine.native.linear import weight_of
from beamhouse.engine.native.mirrored import MOST_SHARING, Residual
from beamhouse.engine.native.parts import (
    Decoder,
    Heads,
    Layer,
    ModulePlace,
    Norm,
    OtherArchitecture,
    Rotary,
    Scales,
    require,
    same,
)
from beamhouse.engine.native.probes import activation_of, norm_of, pairing_of, turns
from beamhouse.engine.state.decoder_config import decoder_config

ROPES = frozenset({"default", "linear", "llama3", "yarn", "longrope", "dynamic"})
"""Kinds of rotary positions whose angles depend on the position alone, or as `engine/state/rope_scaling.py` says."""

SCALED_BY = ("llama_4_scaling_beta", "original_max_position_embeddings")
"""Among the rotary parameters, by what queries are scaled by their positions."""


@torch.inference_mode()
def recognize(model: PreTrainedModel) -> Decoder:
    """The description of a model's decoder. Raises OtherArchitecture, having changed nothing."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    config, dtype = decoder_config(model.config), model.dtype
    require(dtype in (torch.float32, torch.bfloat16), f"weights of the type {dtype}")
    require(type(head) is nn.Linear and weight_of(head) is not None, "the head")
    found = layouts.children(decoder)
    names = [layouts.only(found, one) for one in (layouts.EMBEDDINGS, layouts.LAYERS, layouts.LAST_NORMS)]
    require(found <= {*names, *layouts.POSITIONS, layouts.ROTARY}, "parts of the decoder")
    embedding, layers, norm = (getattr(decoder, name) for name in names)
    layout = layouts.LAYOUTS.get(same(frozenset(layouts.children(layer)) for layer in layers))
    if layout is None:
        raise OtherArchitecture("parts of a layer")
    attentions = [layouts.attention_of(getattr(layer, layout.attention)) for layer in layers]
    mlps = [layouts.mlp_of(layer, layout) for layer in layers]
    rotary = getattr(decoder, layouts.ROTARY, None)
    return Decoder(
        embedding=embedding,
        positions=_positions(decoder, found),
        rotary=rotary,
        layers=[
            _layer(layer, layout, attention, mlp, _turn(config, attention, number, rotary))
            for number, (layer, attention, mlp) in enumerate(zip(layers, attentions, mlps, strict=True))
        ],
        norm=norm_of(norm, dtype, config.hidden_size),
        head=head,
        heads=same(_heads(attention, config) for attention in attentions),
        intermediate=same(_sizes(mlp.down)[1] for mlp in mlps),
        is_gated=same(mlp.is_gated for mlp in mlps),
        activation=same(activation_of(mlp.activation, dtype) for mlp in mlps),
        residual=same(_residual(layer, layout, attention) for layer, attention in zip(layers, attentions, strict=True)),
        scales=_scales(model, decoder, embedding, layers, layout),
    )


@torch.inference_mode()
def rotaries(decoder: Decoder, dtype: torch.dtype) -> dict[str, Rotary]:
    """How each kind of layer turns queries and keys. Raises OtherArchitecture."""
    return {
        layer.rotary: _rotary(decoder, layer.rotary, layer.out.parent, dtype)
        for layer in {layer.rotary: layer for layer in decoder.layers}.values()
        if layer.rotary is not None
    }


def query_scales(decoder: Decoder, dtype: torch.dtype) -> Callable[[int], torch.Tensor] | None:
    """What gives the factors of queries at so many positions, (positions,) as rounded in the type; None for none.

    Raises OtherArchitecture.
    """
    attention = decoder.layers[0].out.parent
    function = getattr(sys.modules[type(attention).__module__], "get_llama_4_attn_scale", None)
    if function is None:
        return None
    told = [attention.config.rope_parameters.get(name) for name in SCALED_BY]
    require(all(one is not None for one in told), "queries scaled by their positions in another way")

    def scales(num_positions: int) -> torch.Tensor:
        factors: torch.Tensor = function(torch.arange(num_positions)[None], *told)
        return factors.flatten().to(dtype).float()

    return scales


def _rotary(decoder: Decoder, kind: str, attention: Any, dtype: torch.dtype) -> Rotary:
    layer_type, example = kind if isinstance(decoder.rotary.rope_type, dict) else None, torch.empty(1, dtype=dtype)
    whole = RotaryRows(decoder.rotary, layer_type, example)
    some = whole.gathered([PositionRun(0, 8, 0)])
    require(len(some) == 2, "the layout of rotary positions")
    dim = int(some[0].shape[1])
    require(dim % 2 == 0 and dim <= decoder.heads.dim, "the layout of rotary positions")
    # Models keep what applies the tables beside their attention, under one name.
    function = getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)
    pairing, halved = pairing_of(function, *some)
    return Rotary(RotaryRows(decoder.rotary, layer_type, example, halved), dim, pairing)


def _layer(
    layer: Any, layout: LayerLayout, attention: Attention, mlp: FeedForward, turn: tuple[str | None, int]
) -> Layer:
    require(not layouts.own_parameters(layer), "a parameter of the layer")
    require(getattr(attention.module.config, "clip_qkv", None) is None, "bounded queries and keys")
    _check_sizes(attention, mlp)
    dtype, hidden = attention.out.module.weight.dtype, _sizes(mlp.down)[0]
    dim, out_columns = _head_dim(attention.module), _sizes(attention.out)[1]

    def norm(name: str | None) -> Norm | None:
        return None if name is None else norm_of(getattr(layer, name), dtype, hidden)

    def head_norm(module: Any, width: int) -> Norm | None:
        if module is None:
            return None
        weight = getattr(module, "weight", None)
        require(isinstance(weight, torch.Tensor), "a norm of the heads without a weight of its own")
        size = int(module.weight.shape[-1])
        require(size in (dim, width) and not (attention.is_interleaved and size != dim), "the norm of the heads")
        return norm_of(module, dtype, size)

    num_keys = (sum(_sizes(place)[0] for place in attention.qkv) - out_columns) // 2
    return Layer(
        qkv=attention.qkv,
        out=attention.out,
        up=mlp.up,
        down=mlp.down,
        before_attention=norm(layout.before_attention),
        query=head_norm(attention.query_norm, out_columns),
        key=head_norm(attention.key_norm, num_keys),
        after_attention=norm(layout.after_attention),
        before_mlp=norm(layout.before_mlp),
        after_mlp=norm(layout.after_mlp),
        rotary=turn[0],
        window=turn[1],
        scaling=1.0 if layout.scales_queries else float(attention.module.scaling),
        cap=float(getattr(attention.module, "attn_logit_softcapping", None) or 0.0),
    )


def _check_sizes(attention: Attention, mlp: FeedForward) -> None:
    hidden, intermediate = _sizes(mlp.down)
    is_even = hidden % 16 == 0 and intermediate % 16 == 0
    require(_sizes(attention.out)[0] == hidden and is_even, "sizes that are no multiple of 16")
    num_up = sum(_sizes(place)[0] for place in mlp.up)
    require(num_up == intermediate * (2 if mlp.is_gated else 1), "the sizes of the feed-forward layer")


def _heads(attention: Attention, config: Any) -> Heads:
    dim, columns = _head_dim(attention.module), sum(_sizes(place)[0] for place in attention.qkv)
    num = _sizes(attention.out)[1] // dim
    num_kv = (columns // dim - num) // 2
    require(dim % 16 == 0, "heads of a size that is no multiple of 16")
    require((num + 2 * num_kv) * dim == columns and num == config.num_attention_heads, "the number of heads")
    require(num_kv > 0 and num % num_kv == 0 and num // num_kv <= MOST_SHARING, "the number of heads")
    if attention.is_interleaved:
        require(num == num_kv, "heads that share keys in one projection")
        return Heads(num, num_kv, dim, 3 * dim, dim, 2 * dim)
    return Heads(num, num_kv, dim, dim, num * dim, (num + num_kv) * dim)


def _head_dim(attention: Any) -> int:
    return int(getattr(attention, "head_dim", None) or attention.head_size)


def _sizes(place: ModulePlace) -> tuple[int, int]:
    """Outputs and inputs of a linear layer that can be packed. Raises OtherArchitecture."""
    parts = weight_of(place.module)
    if parts is None:
        raise OtherArchitecture(f"{place.name} is no linear layer of sizes that are multiples of 16")
    return int(parts[0].shape[0]), int(parts[0].shape[1])


def _residual(layer: Any, layout: LayerLayout, attention: Attention) -> Residual:
    require(getattr(layer, "do_layer_norm_before", True), "norms behind the branches")
    if not getattr(layer, "use_parallel_residual", layout.has_one_stream):
        require(not layout.has_one_stream, "a branch without a norm")
        return Residual.IN_TURN
    # The two ways to add three numbers: told apart by what the architectures of each call their projection.
    return Residual.BRANCHES_FIRST if attention.out.name == "dense" else Residual.STREAM_FIRST


def _scales(model: Any, decoder: Any, embedding: nn.Embedding, layers: Any, layout: LayerLayout) -> Scales:
    config, scale = decoder_config(model.config), 1.0
    if type(embedding) is not nn.Embedding:
        require(hasattr(embedding, "embed_scale"), "the embedding")
        scale = float(torch.as_tensor(embedding.embed_scale).to(embedding.weight.dtype))
    some = torch.arange(min(4, embedding.num_embeddings))
    require(torch.equal(embedding(some), embedding.weight[some] * scale), "the embedding")
    attention = getattr(layers[0], layout.attention)
    branch = float(same(getattr(layer, "residual_multiplier", 1.0) for layer in layers))
    require(branch == 1.0 or layout.before_mlp is not None, "scaled branches")
    return Scales(
        embedding=scale * float(getattr(decoder, "embedding_multiplier", 1.0)),
        query=float(attention.scaling) if layout.scales_queries else 1.0,
        branch=branch,
        logit=float(getattr(model, "logit_scale", None) or 1.0),
        logit_divisor=float(getattr(config, "logits_scaling", None) or 1.0),
        logit_cap=float(getattr(config, "final_logit_softcapping", None) or 0.0),
    )


def _positions(decoder: Any, found: set[str]) -> torch.Tensor | None:
    """The learned table of positions from the first one on, (P, hidden)."""
    if not found & set(layouts.POSITIONS):
        return None
    table = getattr(decoder, layouts.only(found, layouts.POSITIONS))
    offset = int(getattr(table, "offset", 0))
    require(isinstance(table, nn.Embedding) and (offset > 0 or type(table) is nn.Embedding), "the learned positions")
    positions: torch.Tensor = table.weight.detach()[offset:]
    return positions


def _turn(config: Any, attention: Attention, number: int, rotary: Any) -> tuple[str | None, int]:
    """By which table a layer turns queries and keys, if any, and how many positions its queries see, 0 for all."""
    types = getattr(config, "layer_types", None)
    kind = types[number] if types else None
    require(kind in (None, "full_attention", "sliding_attention"), f"attention of the kind {kind}")
    window = getattr(attention.module, "sliding_window", None)
    if window is None:
        window = getattr(config, "sliding_window", None)
    is_mixed = len(set(types or ())) > 1
    return _table(rotary, attention.module, kind, is_mixed), 0 if kind == "full_attention" else int(window or 0)


def _table(rotary: Any, attention: Any, kind: str | None, is_mixed: bool) -> str | None:
    if rotary is None or not getattr(attention, "use_rope", True):
        return None
    ropes = getattr(rotary, "rope_type", None)
    rope = ropes.get(kind) if isinstance(ropes, dict) else ropes
    require(rope in ROPES, "the rotary positions")
    if isinstance(ropes, dict):
        return str(kind)
    # Of layers that see to different lengths some may turn nothing, which only shows in what they compute.
    return "all" if not is_mixed or turns(attention, rotary) else None
