"""Packs the weights of a described decoder, and puts layers over the packed ones in their place."""

from collections.abc import Sequence as Seq
from typing import Any

import torch
from torch import nn

from beamhouse.engine.native.library import Kernels
from beamhouse.engine.native.linear import PackedLinear, weight_of
from beamhouse.engine.native.matrices import PackedMatrix, head_form, packed_in_turns, packed_side_by_side
from beamhouse.engine.native.mirrored import PANEL, LayerStruct, MatrixStruct, NormStruct
from beamhouse.engine.native.parts import Layer, ModulePlace, Norm


class PackedHalves(nn.Module):
    """Two packed layers in the place of one whose outputs are theirs, one after the other."""

    def __init__(self, whole: Any, halves: Seq[PackedLinear]) -> None:
        super().__init__()
        self.out_features, self.in_features = whole.weight.shape
        self.first, self.second = halves

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.first(x), self.second(x)], dim=-1)


class Packer:
    """Makes the kernels' structures of a model's parts, and keeps what they point to."""

    def __init__(self, kernels: Kernels, quantize: str | None) -> None:
        self.kernels, self.quantize = kernels, quantize
        self.kept: list[torch.Tensor | PackedMatrix] = []

    def layer(self, layer: Layer, is_gated: bool, rotary: int) -> LayerStruct:
        """Pack one layer. rotary: the number of the table by which it turns, -1 for none."""
        norms = (
            layer.before_attention,
            layer.query,
            layer.key,
            layer.after_attention,
            layer.before_mlp,
            layer.after_mlp,
        )
        up = self._in_turns(layer.up) if is_gated else self.side_by_side(layer.up)
        return LayerStruct(
            self.side_by_side(layer.qkv), self.side_by_side([layer.out]), up, self.side_by_side([layer.down]),
            *(self.norm(norm) for norm in norms), rotary, layer.window, layer.scaling, layer.cap,
        )  # fmt: skip

    def side_by_side(self, places: Seq[ModulePlace]) -> MatrixStruct:
        """Linear layers as one matrix."""
        parts = [_weights(place.module) for place in places]
        matrix = packed_side_by_side(self.kernels, parts, self.quantize)
        begin = 0
        for place in places:
            packed = PackedLinear(matrix, place.module, begin)
            setattr(place.parent, place.name, packed)
            begin += packed.out_features
        return self._keep(matrix)

    def head(self, module: nn.Linear, is_tied: bool) -> tuple[MatrixStruct, PackedLinear]:
        """The head, whose weight may be the embedding's too, and what stands in its place."""
        matrix = packed_side_by_side(self.kernels, [_weights(module)], head_form(self.quantize))
        return self._keep(matrix), PackedLinear(matrix, module, is_shared=is_tied)

    def norm(self, norm: Norm | None) -> NormStruct:
        """A norm; of the kind 0 where there is none."""
        if norm is None:
            return NormStruct()
        *heads, size = norm.weight.shape
        step = size if heads else 0
        return NormStruct(self.floats(norm.weight), self.floats(norm.bias), size, step, norm.eps, int(norm.kind))

    def floats(self, tensor: torch.Tensor | None) -> int | None:
        """Where a tensor lies as floats."""
        return None if tensor is None else self.at(tensor.float())

    def at(self, tensor: torch.Tensor) -> int:
        """Where a tensor lies, in its own type."""
        plain = tensor.detach().contiguous()
        self.kept.append(plain)
        return plain.data_ptr()

    def _in_turns(self, places: Seq[ModulePlace]) -> MatrixStruct:
        """A gate and its other half, as two linear layers or one, in panels that take turns."""
        if len(places) == 2:
            gate, up = (place.module for place in places)
        else:
            gate, up = _halves(places[0].module)
        matrix = packed_in_turns(self.kernels, _weights(gate), _weights(up), self.quantize)
        packed = [PackedLinear(matrix, module, column, gap=PANEL) for module, column in ((gate, 0), (up, PANEL))]
        if len(places) == 2:
            for place, one in zip(places, packed, strict=True):
                setattr(place.parent, place.name, one)
        else:
            setattr(places[0].parent, places[0].name, PackedHalves(places[0].module, packed))
        return self._keep(matrix)

    def _keep(self, matrix: PackedMatrix) -> MatrixStruct:
        self.kept.append(matrix)
        return matrix.struct


def _halves(module: nn.Linear) -> tuple[nn.Linear, nn.Linear]:
    """The two halves of a linear layer's outputs, as views."""
    halves = []
    weights = module.weight.detach().chunk(2)
    biases = (None, None) if module.bias is None else module.bias.detach().chunk(2)
    for weight, bias in zip(weights, biases, strict=True):
        half = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta", dtype=weight.dtype)
        half.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            half.bias = nn.Parameter(bias, requires_grad=False)
        halves.append(half)
    return halves[0], halves[1]


def _weights(module: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    parts = weight_of(module)
    assert parts is not None
    return parts
