"""Greedy search: the best-scored token, the first of them on ties."""

from collections.abc import Sequence as Seq
from typing import ClassVar

import torch

from beamhouse.engine.decoding.strategy import Scored, Step, Strategy, advanced, scored
from beamhouse.engine.logits.bad_rows import bad_rows, fail_bad
from beamhouse.engine.logits.sparse_scores import best
from beamhouse.engine.state.batch import Advance, Choice
from beamhouse.engine.state.request import Request, Row
from beamhouse.schemas.generation.modes import GenerationMode


class Greedy(Strategy):
    """Equals `generate()` with `do_sample=False`, `num_beams=1`.

    A row without any finite score goes on with the first token, as in the library, unless a constraint rules that out;
    a row with NaN fails.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.GREEDY_SEARCH
    reads: ClassVar[frozenset[str]] = frozenset({"do_sample", "num_beams", "num_return_sequences"})

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        return choose_best(scored(requests, step), step)


def choose_best(given: Scored, step: Step) -> dict[Request, Advance]:
    """Every row, one for each request, goes on with its best token."""
    places = best(given.scores)  # (R,), the place of a NaN where a row holds one
    is_bad = _bad(given.rows, given.scores.gather(1, places[:, None]))
    picked = places.masked_fill(is_bad, -1).tolist()  # one transfer
    fail_bad(given.rows, [token < 0 for token in picked])
    return {
        row.request: advanced(row.request, [(at, Choice(row.sequence, [token], 0))], given, step)
        for at, (row, token) in enumerate(zip(given.rows, picked, strict=True))
        if row.request.failure is None
    }


def _bad(rows: Seq[Row], best: torch.Tensor) -> torch.Tensor:
    """Which rows no token can be chosen from, by their best scores. (R, 1) to (R,)"""
    is_constrained = [row.request.submission.constraint is not None for row in rows]
    is_bad = bad_rows(best, for_sampling=False)
    if any(is_constrained):
        flags = torch.tensor(is_constrained, device=best.device)
        is_bad |= bad_rows(best, for_sampling=False, is_constrained=True) & flags
    return is_bad
