"""Linear layers over packed weights, in the place of the model's own."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from beamhouse.engine.native.library import Kernels
from beamhouse.engine.native.matrices import PackedMatrix, fits, head_form, packed_side_by_side


class PackedLinear(nn.Module):
    """The columns [begin, ...) of a packed matrix in the place of a linear layer.

    What model code asks a weight for is its shape and type. They stay, without memory, unless the weight is another
    layer's too.
    """

    def __init__(
        self, matrix: PackedMatrix, module: Any, begin: int = 0, gap: int = 0, is_shared: bool = False
    ) -> None:
        super().__init__()
        weight, bias = _parts(module)
        self.out_features, self.in_features = weight.shape
        self.weight = module.weight if is_shared else _without_memory(weight)
        self.bias = None if bias is None else _without_memory(bias)
        self._matrix, self._begin, self._gap = matrix, begin, gap

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._matrix.times(x, self._begin, self._begin + self.out_features, self._gap)


def _without_memory(tensor: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"), requires_grad=False)


def weight_of(module: nn.Module) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """The weight (outputs, inputs) and the bias of a layer that can be packed, else None."""
    if type(module) not in (nn.Linear, Conv1D):
        return None
    parts = _parts(module)
    return parts if fits(parts[0]) else None


def pack_linears(model: PreTrainedModel, kernels: Kernels, quantize: str | None) -> int:
    """Replace all linear layers that can be; how many are packed then. Their own weights are let go one by one."""
    shared = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    places: list[tuple[Any, str, nn.Module]] = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if weight_of(child) is not None
    ]
    head = model.get_output_embeddings()
    for parent, name, child in places:
        matrix = packed_side_by_side(kernels, [_parts(child)], head_form(quantize) if child is head else quantize)
        setattr(parent, name, PackedLinear(matrix, child, is_shared=id(child.weight) in shared))
    return sum(isinstance(module, PackedLinear) for module in model.modules())


def _parts(module: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    return (module.weight.T if type(module) is Conv1D else module.weight), module.bias
