"""Draws as `torch.multinomial` makes them, at a fraction of its cost on a CPU.

It draws without replacement by an exponential race: those with the largest p / q win, q being exponential draws of the
shape of p. On a CPU torch makes q of uniform numbers u, as -log(1 - u) in double precision, and the logarithm costs
most. Since q is never less than u, p / u bounds p / q, and few entries come near enough to need one.
"""

import torch

from engine.logits.survivors import Survivors, at_least, best, largest

_SLACK = 1 - 1e-6
"""For what rounding does to a bound."""


def undrawn(num_rows: int, like: torch.Tensor) -> torch.Tensor:
    """Room for the numbers that decide the races of such probabilities: u on a CPU, q elsewhere. (num_rows, N)"""
    return like.new_empty(num_rows, like.shape[-1], dtype=torch.float64 if like.device.type == "cpu" else like.dtype)


def draw(generator: torch.Generator, into: torch.Tensor) -> torch.Tensor:
    """Fill rows that are `undrawn` with the numbers of one call of `multinomial`, or of several in turn."""
    is_host = into.dtype == torch.float64
    return into.uniform_(generator=generator) if is_host else into.exponential_(generator=generator)


def winners(probabilities: torch.Tensor, drawn: torch.Tensor, count: int = 1) -> torch.Tensor:
    """The places of the `count` winners of each row, best first. probabilities, drawn: (R, N). Returns (R, count)."""
    if drawn.dtype != torch.float64:
        return _first(probabilities / drawn, count)
    bounds = probabilities / drawn.float()
    ahead = _first(bounds, count)
    reached = _ratios(probabilities.gather(1, ahead), drawn.gather(1, ahead)).amin(-1, keepdim=True)
    near = Survivors.of(at_least(bounds, reached * _SLACK))
    ratios = _ratios(near.gather(probabilities, 0.0), near.gather(drawn, 0.5))
    return near.tokens(probabilities.shape[1]).gather(1, _first(ratios, count))


def _ratios(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    return probabilities / uniforms.neg().log1p_().neg_().to(probabilities.dtype)


def _first(ratios: torch.Tensor, count: int) -> torch.Tensor:
    return best(ratios)[:, None] if count == 1 else largest(ratios, count)[1]
