"""How models name the parts of their layers: tables, and nothing that depends on one model."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from beamhouse.engine.native.parts import ModulePlace, OtherArchitecture, require

EMBEDDINGS = ("embed_tokens", "wte", "embed_in")
POSITIONS = ("wpe", "embed_positions")
LAYERS = ("layers", "h")
LAST_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
ROTARY = "rotary_emb"

QKV = (("q_proj", "k_proj", "v_proj"), ("qkv_proj",), ("c_attn",), ("query_key_value",))
QUERY_NORMS, KEY_NORMS = ("q_norm", "q_layernorm"), ("k_norm", "k_layernorm")
OUT = ("o_proj", "out_proj", "c_proj", "dense")
GATED_UP = (("gate_proj", "up_proj"), ("gate_up_proj",))
UP = (("c_fc",), ("fc1",), ("dense_h_to_4h",), ("up_proj",))
DOWN = ("down_proj", "c_proj", "fc2", "dense_4h_to_h")
ACTIVATIONS = ("act_fn", "act", "activation_fn")


@dataclass(frozen=True, slots=True)
class LayerLayout:
    """Where a layer keeps its parts. mlp: None where its linear layers hang in the layer itself.

    scales_queries: queries are scaled, and rounded, before attention, not the logits in it.
    """

    attention: str
    mlp: str | None = "mlp"
    before_attention: str | None = None
    after_attention: str | None = None
    before_mlp: str | None = None
    after_mlp: str | None = None
    scales_queries: bool = False

    @property
    def has_one_stream(self) -> bool:
        """Whether both branches start from the same stream, through one norm."""
        return self.before_mlp is None and self.after_mlp is None


_ONE = LayerLayout("self_attn", before_attention="input_layernorm")
_TWO = LayerLayout("self_attn", before_attention="input_layernorm", before_mlp="post_attention_layernorm")
_NEOX = LayerLayout("attention", before_attention="input_layernorm", before_mlp="post_attention_layernorm")
_GPT2 = LayerLayout("attn", before_attention="ln_1", before_mlp="ln_2")
_FOUR = LayerLayout(
    "self_attn",
    before_attention="input_layernorm",
    after_attention="post_attention_layernorm",
    before_mlp="pre_feedforward_layernorm",
    after_mlp="post_feedforward_layernorm",
)
_BEHIND = LayerLayout("self_attn", after_attention="post_attention_layernorm", after_mlp="post_feedforward_layernorm")
_OPT = LayerLayout(
    "self_attn", None, before_attention="self_attn_layer_norm", before_mlp="final_layer_norm", scales_queries=True
)
LAYOUTS: dict[frozenset[str], LayerLayout] = {
    frozenset({"self_attn", "mlp", "input_layernorm"}): _ONE,
    frozenset({"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}): _TWO,
    frozenset({"attention", "mlp", "input_layernorm", "post_attention_layernorm"}): _NEOX,
    frozenset({"attn", "mlp", "ln_1", "ln_2"}): _GPT2,
    frozenset({"self_attn", "mlp", "post_attention_layernorm", "post_feedforward_layernorm"}): _BEHIND,
    frozenset(
        {
            "self_attn",
            "mlp",
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        }
    ): _FOUR,
    frozenset({"self_attn", "activation_fn", "self_attn_layer_norm", "fc1", "fc2", "final_layer_norm"}): _OPT,
}
"""By the names of all that hangs in a layer."""


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """What hangs in a module of attention. query_norm, key_norm: or None."""

    module: Any  # Any: a module of the architecture
    qkv: tuple[ModulePlace, ...]
    out: ModulePlace
    query_norm: Any
    key_norm: Any

    @property
    def is_interleaved(self) -> bool:
        """Whether the one projection gives each head's query, key and value side by side."""
        return self.qkv[0].name == "query_key_value"


@dataclass(frozen=True, slots=True, eq=False)
class FeedForward:
    """What hangs in a feed-forward part."""

    up: tuple[ModulePlace, ...]
    down: ModulePlace
    is_gated: bool
    activation: Any  # Any: a module of the architecture


def attention_of(module: Any) -> Attention:
    """Raises OtherArchitecture where something hangs there that has no place."""
    found = children(module)
    qkv, out = _group(found, QKV), only(found, OUT)
    norms = found & {*QUERY_NORMS, *KEY_NORMS}
    require(found == {*qkv, out, *norms} and len(norms) in (0, 2), "parts of attention")
    require(not own_parameters(module), "a parameter of attention")
    query, key = (getattr(module, only(norms, names)) if norms else None for names in (QUERY_NORMS, KEY_NORMS))
    return Attention(module, tuple(ModulePlace(module, name) for name in qkv), ModulePlace(module, out), query, key)


def mlp_of(layer: Any, layout: LayerLayout) -> FeedForward:
    """Raises OtherArchitecture where something hangs there that has no place."""
    module = layer if layout.mlp is None else getattr(layer, layout.mlp)
    found = children(module)
    is_gated = any(found >= set(names) for names in GATED_UP)
    up, down, activation = _group(found, GATED_UP if is_gated else UP), only(found, DOWN), only(found, ACTIVATIONS)
    require(layout.mlp is None or found == {*up, down, activation}, "parts of the feed-forward layer")
    require(not own_parameters(module), "a parameter of the feed-forward layer")
    return FeedForward(
        tuple(ModulePlace(module, name) for name in up),
        ModulePlace(module, down),
        is_gated,
        getattr(module, activation),
    )


def children(module: Any) -> set[str]:
    """Names of the modules that compute something at inference."""
    return {name for name, child in module.named_children() if not isinstance(child, (nn.Dropout, nn.Identity))}


def own_parameters(module: Any) -> list[str]:
    """Names of the parameters that hang in a module itself."""
    return [name for name, _ in module.named_parameters(recurse=False)]


def only(found: Iterable[str], names: tuple[str, ...]) -> str:
    """The one of these names that is found. Raises OtherArchitecture."""
    there = [name for name in names if name in found]
    if len(there) != 1:
        raise OtherArchitecture(f"none or several of {', '.join(names)}")
    return there[0]


def _group(found: set[str], groups: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    there = [names for names in groups if found >= set(names)]
    if len(there) != 1:
        raise OtherArchitecture(f"none or several of {', '.join(names[0] for names in groups)}")
    return there[0]
