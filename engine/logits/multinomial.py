"""Draws as `torch.multinomial` makes them, at a fraction of its cost on a CPU.

It draws without replacement by an exponential race: those with the largest p / q win, q being exponential draws of the
shape of p. That is the Gumbel-max trick without its logarithm of p, and with several winners Gumbel-top-k
(arXiv:1903.06059). On a CPU torch makes q of uniform numbers u, as -log(1 - u) in double precision, and the logarithm
costs most. Since q is never less than u, p / u bounds p / q, and few entries come near enough to need one.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch

from beamhouse.engine.logits.sparse_scores import Survivors, at_least, best, largest
from beamhouse.engine.native import choices
from beamhouse.engine.native.library import Kernels

_SLACK = 1 - 1e-6
"""For what rounding does to a bound."""
_BLOCK_ROWS = 8
"""So many rows race together: more no longer fit the caches of a CPU."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One generator's part in a race: it draws numbers for `num_rows` rows, in their order.

    live: the rows that are drawn from; the numbers of the others are used up as the library does. None: all of them.
    """

    generator: torch.Generator
    num_rows: int = 1
    live: Seq[int] | None = None

    @property
    def num_live(self) -> int:
        return len(self.places)

    @property
    def places(self) -> Seq[int]:
        return range(self.num_rows) if self.live is None else self.live

    def draw(self, into: torch.Tensor) -> None:
        """Fill the live rows, (num_live, N), with u on a CPU and q elsewhere."""
        drawn = into if self.live is None else into.new_empty(self.num_rows, into.shape[1])
        if drawn.device.type == "cpu":
            drawn.uniform_(generator=self.generator)
        else:
            drawn.exponential_(generator=self.generator)
        if self.live is not None:
            into.copy_(drawn[list(self.live)])


def certain(scores: torch.Tensor, sources: Seq[int], turns: Seq[Turn], kernels: Kernels | None) -> list[int] | None:
    """The winner of each row of `scores.softmax(-1)[sources]`, the live rows of all turns; without making it.

    None, and nothing is drawn, without kernels and where a winner is in doubt: a row is bad, or two come so close that
    the rounding of the softmax decides.
    """
    if kernels is None:
        return None
    ahead, rows = iter(sources), []
    for turn in turns:
        own: list[int | None] = [None] * turn.num_rows
        for place in turn.places:
            own[place] = next(ahead)
        rows.append(own)
    found = choices.race(kernels, scores, [turn.generator for turn in turns], rows)
    if found is None:
        return None
    return [won[place] for turn, won in zip(turns, found, strict=True) for place in turn.places]


def winners(probabilities: torch.Tensor, turns: Seq[Turn], count: int = 1) -> torch.Tensor:
    """The places of the `count` winners of each row, best first. probabilities: (R, N), the live rows of all turns.

    Returns (R, count) int64.
    """
    is_host = probabilities.device.type == "cpu"
    found, end = [], 0
    for block in _blocks(turns):
        start, end = end, end + sum(turn.num_live for turn in block)
        own = probabilities[start:end]
        drawn = torch.empty_like(own, dtype=torch.float64 if is_host else own.dtype)
        for turn, rows in zip(block, drawn.split([turn.num_live for turn in block]), strict=True):
            turn.draw(rows)
        found.append(_won(own, drawn, count) if is_host else _first(own / drawn, count))
    return torch.cat(found)


def _blocks(turns: Seq[Turn]) -> Iterator[list[Turn]]:
    block: list[Turn] = []
    for turn in turns:
        if block and sum(one.num_live for one in block) + turn.num_live > _BLOCK_ROWS:
            yield block
            block = []
        block.append(turn)
    yield block


def _won(probabilities: torch.Tensor, uniforms: torch.Tensor, count: int) -> torch.Tensor:
    bounds = probabilities / uniforms.float()
    ahead = _first(bounds, count)
    reached = _ratios(probabilities.gather(1, ahead), uniforms.gather(1, ahead)).amin(-1, keepdim=True)
    near = Survivors.of(at_least(bounds, reached * _SLACK))
    ratios = _ratios(near.gather(probabilities, 0.0), near.gather(uniforms, 0.5))
    return near.tokens(probabilities.shape[1]).gather(1, _first(ratios, count))


def _ratios(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    return probabilities / uniforms.neg().log1p_().neg_().to(probabilities.dtype)


def _first(ratios: torch.Tensor, count: int) -> torch.Tensor:
    return best(ratios)[:, None] if count == 1 else largest(ratios, count)[1]
