"""Weights in the form the kernels read: panels of columns in huge pages, in the model's type or as int8."""

import ctypes
from collections.abc import Sequence as Seq

import torch

from beamhouse.engine.native.free_mapped_weights import forget_pages
from beamhouse.engine.native.library import HugePages, Kernels
from beamhouse.engine.native.mirrored import GROUP, PANEL, Format, MatrixStruct

FORMATS = {torch.float32: Format.FLOAT32, torch.bfloat16: Format.BFLOAT16}
QUANTIZED = {"int8": Format.INT8, "int4": Format.INT4}


class PackedMatrix:
    """One matrix, or several side by side. n: outputs, all together; k: inputs. quantize: int8, int4, or None."""

    def __init__(self, kernels: Kernels, n: int, k: int, dtype: torch.dtype, quantize: str | None) -> None:
        self.kernels, self.n, self.k, self.dtype = kernels, n, k, dtype
        form = QUANTIZED[quantize] if quantize else FORMATS[dtype]
        self._memory = HugePages(kernels, kernels.functions.bh_packed_bytes(n, k, form))
        columns = -(-n // PANEL) * PANEL
        self._scales = torch.zeros(columns if form is Format.INT8 else 0)
        self._offsets = torch.zeros(columns if form is Format.INT8 else 0, dtype=torch.int32)
        self._bias: torch.Tensor | None = None
        self.struct = MatrixStruct(
            n, k, int(form), self._memory.at, self._scales.data_ptr() or None, self._offsets.data_ptr() or None, None
        )

    def fill(self, weight: torch.Tensor, bias: torch.Tensor | None, column: int, gap: int = 0) -> None:
        """Put a weight (outputs, inputs) to the columns from `column` on, leaving out `gap` after each panel."""
        plain = weight.detach().contiguous()
        functions, team, at = self.kernels.functions, self.kernels.team, plain.data_ptr()
        functions.bh_pack(team, ctypes.byref(self.struct), at, FORMATS[plain.dtype], len(plain), column, gap)
        forget_pages(weight)
        if bias is not None:
            if self._bias is None:
                self._bias = torch.zeros(-(-self.n // PANEL) * PANEL)
                self.struct.bias = self._bias.data_ptr()
            columns = torch.arange(len(plain))
            self._bias[column + columns + columns // PANEL * gap] = bias.detach().float()

    def times(self, x: torch.Tensor, begin: int, end: int, gap: int = 0) -> torch.Tensor:
        """x (..., k) times the columns [begin, end), which leave out `gap` after each panel. (..., end - begin)"""
        rows = x.contiguous()
        y = rows.new_empty(*rows.shape[:-1], end - begin)
        self.kernels.functions.bh_linear(
            self.kernels.team,
            ctypes.byref(self.struct),
            FORMATS[self.dtype],
            rows.data_ptr(),
            rows.numel() // self.k,
            gap,
            begin,
            end,
            y.data_ptr(),
        )
        return y


def fits(weight: torch.Tensor) -> bool:
    """Whether a weight (outputs, inputs) can be packed."""
    return weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16) and weight.shape[1] % 16 == 0


def form_for(weight: torch.Tensor, quantize: str | None) -> str | None:
    """How a weight is quantised where that is asked for: int8 where its inputs do not fall into groups of int4."""
    return "int8" if quantize == "int4" and weight.shape[1] % GROUP else quantize


def head_form(quantize: str | None) -> str | None:
    """How the head of a model is quantised: never below int8, since the logits feel rounding the most."""
    return quantize and "int8"


def packed_side_by_side(
    kernels: Kernels, parts: Seq[tuple[torch.Tensor, torch.Tensor | None]], quantize: str | None
) -> PackedMatrix:
    """Weights with their biases, one after the other."""
    first = parts[0][0]
    matrix = PackedMatrix(
        kernels, sum(len(weight) for weight, _ in parts), first.shape[1], first.dtype, form_for(first, quantize)
    )
    column = 0
    for weight, bias in parts:
        matrix.fill(weight, bias, column)
        column += len(weight)
    return matrix


def packed_in_turns(
    kernels: Kernels, one: tuple[torch.Tensor, torch.Tensor | None], other: tuple[torch.Tensor, torch.Tensor | None],
    quantize: str | None,
) -> PackedMatrix:  # fmt: skip
    """Two weights of one shape, whose panels take turns."""
    n, k = one[0].shape
    matrix = PackedMatrix(kernels, 2 * -(-n // PANEL) * PANEL, k, one[0].dtype, form_for(one[0], quantize))
    matrix.fill(*one, column=0, gap=PANEL)
    matrix.fill(*other, column=PANEL, gap=PANEL)
    return matrix
