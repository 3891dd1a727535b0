"""Products with packed matrices against plain ones."""

import pytest
import torch

from beamhouse.engine.native.library import Kernels, load_kernels
from beamhouse.engine.native.matrices import PackedMatrix, packed_in_turns, packed_side_by_side
from beamhouse.engine.native.mirrored import PANEL

ROWS = (1, 2, 3, 5, 6, 7, 8, 13, 14, 15, 29, 64)
SIZES = ((16, 16), (64, 48), (100, 640), (257, 1040))


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return load_kernels(request.param)


def numbers(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def error_allowed(weight: torch.Tensor, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What rounding to the type, and sums of floats, may cost each element of a product. (rows, outputs)"""
    size = x.double().abs() @ weight.double().abs().T
    exact = x.double() @ weight.double().T
    return size * 2**-20 + (exact.abs() * 2**-8 if dtype == torch.bfloat16 else 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "k"), SIZES)
def test_products_are_those_of_the_plain_matrix(kernels: Kernels, dtype: torch.dtype, n: int, k: int) -> None:
    weight, bias = numbers(n, k, dtype=dtype), numbers(n, dtype=dtype, seed=1)
    matrix = packed_side_by_side(kernels, [(weight, bias)], quantize=None)
    for rows in ROWS:
        x = numbers(rows, k, dtype=dtype, seed=rows)
        expected = x.double() @ weight.double().T + bias.double()
        allowed = error_allowed(weight, x, dtype) + expected.abs() * (2**-8 if dtype == torch.bfloat16 else 2**-22)
        assert ((matrix.times(x, 0, n).double() - expected).abs() <= allowed).all()


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_does_not_depend_on_its_neighbours(kernels: Kernels, dtype: torch.dtype, quantize: str | None) -> None:
    weight = numbers(300, 640, dtype=dtype)
    matrix = packed_side_by_side(kernels, [(weight, None)], quantize)
    x = numbers(64, 640, dtype=dtype, seed=1)
    alone = torch.cat([matrix.times(row[None], 0, 300) for row in x])
    for rows in ROWS:
        assert torch.equal(matrix.times(x[:rows], 0, 300), alone[:rows])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_some_columns_are_those_of_the_whole(kernels: Kernels, dtype: torch.dtype) -> None:
    parts = [(numbers(n, 96, dtype=dtype, seed=n), None) for n in (70, 130, 20)]
    matrix, x = packed_side_by_side(kernels, parts, quantize=None), numbers(9, 96, dtype=dtype)
    whole, begin = matrix.times(x, 0, 220), 0
    for weight, _ in parts:
        end = begin + len(weight)
        assert torch.equal(matrix.times(x, begin, end), whole[:, begin:end])
        alone = packed_side_by_side(kernels, [(weight, None)], quantize=None)
        assert torch.equal(alone.times(x, 0, len(weight)), whole[:, begin:end])
        begin = end


@pytest.mark.parametrize("n", [64, 100, 640])
def test_two_matrices_in_turns_are_each_themselves(kernels: Kernels, n: int) -> None:
    one, other, x = numbers(n, 32), numbers(n, 32, seed=1), numbers(5, 32, seed=2)
    matrix = packed_in_turns(kernels, (one, None), (other, numbers(n, seed=3)), quantize=None)
    torch.testing.assert_close(matrix.times(x, 0, n, gap=PANEL), x @ one.T, rtol=1e-5, atol=1e-5)
    expected = x @ other.T + numbers(n, seed=3)
    torch.testing.assert_close(matrix.times(x, PANEL, PANEL + n, gap=PANEL), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_int8_is_as_good_as_127_steps_allow(kernels: Kernels, dtype: torch.dtype) -> None:
    weight, x = numbers(200, 512, dtype=dtype), numbers(11, 512, dtype=dtype, seed=1)
    matrix = packed_side_by_side(kernels, [(weight, None)], quantize="int8")
    exact = x.double() @ weight.double().T
    steps_w = weight.double().abs().amax(1) / 127
    steps_x = x.double().abs().amax(1) / 127
    weight_8 = (weight.double() / steps_w[:, None]).round() * steps_w[:, None]
    x_8 = (x.double() / steps_x[:, None]).round() * steps_x[:, None]
    actual = matrix.times(x, 0, 200).double()
    allowed = (x_8 @ weight_8.T).abs() * (2**-8 if dtype == torch.bfloat16 else 2**-18) + 1e-3
    # A number that lies between two steps may go either way.
    borderline = 2 * (steps_x[:, None] * weight.double().abs().amax(1) + x.double().abs().amax(1)[:, None] * steps_w)
    assert ((actual - x_8 @ weight_8.T).abs() <= allowed + borderline).all()
    assert (actual - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_int4_is_as_good_as_fifteen_steps_in_groups_of_32_allow(kernels: Kernels, dtype: torch.dtype) -> None:
    weight, x = numbers(200, 512, dtype=dtype), numbers(11, 512, dtype=dtype, seed=1)
    matrix = packed_side_by_side(kernels, [(weight, None)], quantize="int4")
    groups = weight.double().view(200, 16, 32)
    largest = groups.gather(2, groups.abs().argmax(2, keepdim=True))
    scale = (largest / -8).bfloat16().double()
    weight_4 = ((groups / scale).round().clamp(-8, 7) * scale).view(200, 512)
    steps_x = x.double().abs().amax(1, keepdim=True) / 127
    expected = (x.double() / steps_x).round() * steps_x @ weight_4.T
    actual = matrix.times(x, 0, 200).double()
    # A number that lies between two steps may go either way.
    borderline = 2 * (
        steps_x * weight_4.abs().amax(1) + x.double().abs().amax(1, keepdim=True) * scale.abs().amax((1, 2))
    )
    assert ((actual - expected).abs() <= borderline + expected.abs() * 2**-8).all()
    assert (actual - expected).norm() / expected.norm() < 0.005
    exact = x.double() @ weight.double().T
    assert (actual - exact).norm() / exact.norm() < 0.12


def test_int8_does_not_hide_what_is_no_number(kernels: Kernels) -> None:
    matrix = packed_side_by_side(kernels, [(numbers(64, 64), None)], quantize="int8")
    for bad in (float("nan"), float("inf")):
        x = numbers(3, 64)
        x[1, 5] = bad
        y = matrix.times(x, 0, 64)
        assert y[1].isnan().all()
        assert y[[0, 2]].isfinite().all()


def test_rows_keep_their_shape(kernels: Kernels) -> None:
    matrix = PackedMatrix(kernels, 10, 16, torch.float32, quantize=None)
    assert matrix.times(torch.zeros(2, 3, 16), 0, 10).shape == (2, 3, 10)
