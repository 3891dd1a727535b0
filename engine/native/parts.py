"""The description of a decoder that the kernels run: data, as src/layers.h has it, over the model's own modules."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from beamhouse.engine.attention.rotary import RotaryRows
from beamhouse.engine.native.mirrored import Activation, NormKind, Pairing, Residual


class OtherArchitecture(Exception):
    """The decoder is not of the kind the kernels run; the message says in what."""


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """weight, bias: float32, (size,) or (heads, size), where each head has its own."""

    kind: NormKind
    weight: torch.Tensor
    bias: torch.Tensor | None
    eps: float


@dataclass(frozen=True, slots=True, eq=False)
class Rotary:
    """rows: cosines and sines, (positions, dim / 2) float32, as the model has them. dim: of a head, what is turned."""

    rows: RotaryRows
    dim: int
    pairing: Pairing


@dataclass(frozen=True, slots=True, eq=False)
class ModulePlace:
    """A linear layer, and where it hangs."""

    parent: Any  # Any: a module of the architecture
    name: str

    @property
    def module(self) -> Any:
        return getattr(self.parent, self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer. qkv, up: one fused projection or several. rotary: which of the decoder's tables, None for no turning.

    window: positions a query sees, 0 where it sees everything. cap: of the logits of attention, 0 for none.
    """

    qkv: tuple[ModulePlace, ...]
    out: ModulePlace
    up: tuple[ModulePlace, ...]
    down: ModulePlace
    before_attention: Norm | None
    query: Norm | None
    key: Norm | None
    after_attention: Norm | None
    before_mlp: Norm | None
    after_mlp: Norm | None
    rotary: str | None
    window: int
    scaling: float
    cap: float


@dataclass(frozen=True, slots=True)
class Heads:
    """num, num_kv: heads of queries, and of keys and values. step: columns from one head to the next among what the
    projections give, whose first key and value begin at key_begin and value_begin."""

    num: int
    num_kv: int
    dim: int
    step: int
    key_begin: int
    value_begin: int


@dataclass(frozen=True, slots=True)
class Scales:
    """What multiplies on the way; logit_divisor divides, logit_cap bounds unless it is 0."""

    embedding: float = 1.0
    query: float = 1.0
    branch: float = 1.0
    logit: float = 1.0
    logit_divisor: float = 1.0
    logit_cap: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Decoder:
    """A decoder whose layers are alike in sizes. positions: a learned table (P, hidden), or None."""

    embedding: nn.Embedding
    positions: torch.Tensor | None
    rotary: Any  # Any: the module that makes cosines and sines, or None
    layers: list[Layer]
    norm: Norm
    head: nn.Linear
    heads: Heads
    intermediate: int
    is_gated: bool
    activation: Activation
    residual: Residual
    scales: Scales


def require(holds: bool, what: str) -> None:
    """Raises OtherArchitecture, naming `what`, unless something holds."""
    if not holds:
        raise OtherArchitecture(what)


def same(values: Any) -> Any:
    """What all layers have in common. Raises OtherArchitecture where they differ."""
    found = set(values)
    require(len(found) == 1, "layers that differ")
    return found.pop()
