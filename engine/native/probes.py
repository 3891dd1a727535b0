"""Recognises norms, activations and turns by what they compute: each is run on a few numbers, and held to our kinds.

A module's class says little (many share a formula under their own names), its answers say all.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional

from beamhouse.engine.attention.rotary import Tables
from beamhouse.engine.native.mirrored import Activation, NormKind, Pairing
from beamhouse.engine.native.parts import Norm, require

EXACT = 4
"""Units in the last place, of the largest number, that a recognised norm may be off."""
USUAL_EPS = 1e-5
"""What norms add that do not say it."""
CLOSE = 2e-6
"""How far an activation of float32 may be off where none is met exactly."""

Halved = Callable[[Tables], Tables]
"""Of cosines and sines (positions, dim) each angle once, (positions, dim / 2) float32."""

ACTIVATIONS: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    Activation.SILU: functional.silu,
    Activation.RELU: functional.relu,
    Activation.GELU: functional.gelu,
    Activation.GELU_TANH: lambda x: functional.gelu(x, approximate="tanh"),
    Activation.GELU_NEW: lambda x: (
        0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))
    ),
    Activation.RELU_SQUARED: lambda x: functional.relu(x).square(),
}


def activation_of(module: Any, dtype: torch.dtype) -> Activation:
    """Which activation a module is in this type. Raises OtherArchitecture."""
    x = torch.linspace(-9.0, 9.0, 4001).to(dtype)
    actual = module(x)
    for activation, function in ACTIVATIONS.items():
        if torch.equal(actual, function(x)):
            return activation
    for activation, function in ACTIVATIONS.items():
        if dtype == torch.float32 and torch.allclose(actual, function(x), rtol=0.0, atol=CLOSE):
            return activation
    require(False, f"the activation {type(module).__name__}")
    raise AssertionError


def norm_of(module: Any, dtype: torch.dtype, size: int) -> Norm:
    """Which norm over so many numbers a module is in this type. Raises OtherArchitecture."""
    name = type(module).__name__
    eps = next((float(getattr(module, key)) for key in ("variance_epsilon", "eps") if hasattr(module, key)), USUAL_EPS)
    weight = getattr(module, "weight", None)
    weight = torch.ones(size) if weight is None else weight.detach().float()
    bias = getattr(module, "bias", None)
    bias = None if bias is None else bias.detach().float()
    require(weight.shape[-1] == size and size % 16 == 0, f"the size of the norm {name}")
    # Small numbers, so that eps counts, with a mean that does too.
    x = (0.02 * torch.randn(8, *weight.shape, generator=torch.Generator().manual_seed(0)) + 0.01).to(dtype)
    expected = module(x).float()
    allowed = EXACT * torch.finfo(dtype).eps * float(expected.abs().max())
    tried = [(norm, _normed(norm, x)) for norm in _norms(weight, bias, eps)]
    fitting = [
        (float((actual - expected).abs().mean()), place)
        for place, (_, actual) in enumerate(tried)
        if float((actual - expected).abs().max()) <= allowed
    ]
    require(bool(fitting), f"the norm {name}")
    return tried[min(fitting)[1]][0]


def turns(attention: Any, rotary: Any) -> bool:
    """Whether a module of attention turns queries and keys at all: whether distances between tokens change its answer.

    Raises OtherArchitecture where it cannot be asked.
    """
    answers = []
    try:
        width, dtype = attention.o_proj.weight.shape[0], attention.o_proj.weight.dtype
        hidden = torch.randn(1, 8, width, generator=torch.Generator().manual_seed(0)).to(dtype)
        for distance in (1, 7):
            tables = rotary(hidden, distance * torch.arange(8)[None])
            answers.append(attention(hidden_states=hidden, position_embeddings=tables, attention_mask=None)[0])
    except (TypeError, AttributeError):
        require(False, "attention that wants more than positions")
    return not torch.equal(*answers)


def pairing_of(function: Any, cosines: torch.Tensor, sines: torch.Tensor) -> tuple[Pairing, Halved]:
    """How a function turns queries and keys by tables (positions, dim), and what the kernels need of such tables.

    Raises OtherArchitecture.
    """
    half = cosines.shape[1] // 2
    x = torch.randn(1, 1, len(cosines), 2 * half, generator=torch.Generator().manual_seed(0)).to(cosines.dtype)
    require(callable(function), "how rotary positions are applied")
    expected = function(x, x, cosines[None], sines[None])[0].float()
    tables = (cosines, sines)
    # The angles lie one after the other, once for each half, or each twice.
    is_repeated = all(torch.equal(table[:, :half], table[:, half:]) for table in tables)
    is_doubled = all(torch.equal(table[:, ::2], table[:, 1::2]) for table in tables)
    require(is_repeated or is_doubled, "the layout of rotary positions")

    def halved(whole: Tables) -> Tables:
        return tuple((table[:, :half] if is_repeated else table[:, ::2]).float().contiguous() for table in whole)

    errors = [(_turned(x, halved(tables), pairing) - expected).abs() for pairing in Pairing]
    best = min(range(len(errors)), key=lambda place: float(errors[place].mean()))
    allowed = EXACT * torch.finfo(x.dtype).eps * float(expected.abs().max())
    require(float(errors[best].max()) <= allowed, "how rotary positions are applied")
    return list(Pairing)[best], halved


def _turned(x: torch.Tensor, tables: Tables, pairing: Pairing) -> torch.Tensor:
    """x (1, 1, positions, dim) turned as the kernels do, rounded where they round."""
    cosines, sines = tables
    is_halved, is_whole = pairing is Pairing.HALVES, pairing is Pairing.NEIGHBOURS_WHOLE
    low, high = (half.float() for half in (x.chunk(2, dim=-1) if is_halved else (x[..., ::2], x[..., 1::2])))

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a * b if is_whole else (a * b).to(x.dtype).float()

    pair = product(low, cosines) - product(high, sines), product(high, cosines) + product(low, sines)
    turned = torch.cat(pair, dim=-1) if is_halved else torch.stack(pair, dim=-1).flatten(-2)
    return turned.to(x.dtype).float()


def _norms(weight: torch.Tensor, bias: torch.Tensor | None, eps: float) -> Iterator[Norm]:
    for one in (weight, 1.0 + weight):
        if bias is None:
            yield Norm(NormKind.RMS, one, None, eps)
            yield Norm(NormKind.RMS_WHOLE, one, None, eps)
        yield Norm(NormKind.LAYER_NORM, one, bias, eps)


def _normed(norm: Norm, x: torch.Tensor) -> torch.Tensor:
    """What a norm of the kernels gives, rounded where they round."""
    value = x.float()
    if norm.kind is NormKind.LAYER_NORM:
        value = value - value.mean(-1, keepdim=True)
    value = value * torch.rsqrt(value.square().mean(-1, keepdim=True) + norm.eps)
    if norm.kind is NormKind.RMS:
        value = value.to(x.dtype).float()
    value = value * norm.weight
    return (value if norm.bias is None else value + norm.bias).to(x.dtype).float()
