"""Multinomial sampling: a draw from the processed distribution, each request from its own generator."""

from collections.abc import Sequence as Seq
from typing import ClassVar

import torch

from beamhouse.engine.decoding.strategy import Scored, Step, Strategy, advanced, scored
from beamhouse.engine.logits import multinomial
from beamhouse.engine.logits.bad_rows import bad_rows, fail_bad
from beamhouse.engine.state.batch import Advance, Choice
from beamhouse.engine.state.request import Request
from beamhouse.schemas.generation.modes import GenerationMode


class Sample(Strategy):
    """Equals `torch.manual_seed(seed); generate(do_sample=True)` on a batch of one prompt.

    The races of all rows run in one call, but each request draws from its own generator in the library's order: at
    every step for all `num_return_sequences` rows, ended ones too.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.SAMPLE
    reads: ClassVar[frozenset[str]] = frozenset({"do_sample", "num_beams", "num_return_sequences"})

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        return draw(scored(requests, step), requests, step)


def draw(given: Scored, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
    """Every row goes on with a drawn token; the first step draws all sequences from the one prompt row."""
    sources = [at for at, row in enumerate(given.rows) for _ in range(_num_picks(row.request))]
    turns = [_turn(request) for request in requests]
    tokens = multinomial.certain(given.scores, sources, turns, step.pipeline.kernels)
    if tokens is None:
        tokens, bad = _drawn(given.scores, sources, turns)
        fail_bad(given.rows, bad)
    picked: dict[Request, list[tuple[int, Choice]]] = {}
    for at, token in zip(sources, tokens, strict=True):
        row = given.rows[at]
        siblings = picked.setdefault(row.request, [])
        index = len(siblings) if _is_first(row.request) else row.sequence.index
        siblings.append((at, Choice(row.sequence, [token], index)))
    return {one: advanced(one, picked[one], given, step) for one in requests if one.failure is None}


def _drawn(scores: torch.Tensor, sources: Seq[int], turns: Seq[multinomial.Turn]) -> tuple[list[int], list[bool]]:
    """The token of each source, and which rows of the scores are bad."""
    probabilities = scores.softmax(-1)  # (R, V)
    is_bad = bad_rows(scores, for_sampling=True)
    if len(sources) > len(scores):
        probabilities = probabilities.index_select(0, torch.tensor(sources, device=scores.device))
    picked = multinomial.winners(probabilities, turns)[:, 0]  # (picks,)
    packed = torch.cat([picked, is_bad.to(picked.dtype)]).tolist()  # one transfer
    return packed[: len(sources)], [bool(flag) for flag in packed[len(sources) :]]


def _num_picks(request: Request) -> int:
    return len(request.outputs) if _is_first(request) else 1


def _turn(request: Request) -> multinomial.Turn:
    """Numbers for all sequences of a request, of which the live ones race."""
    is_whole = _is_first(request) or len(request.sequences) == len(request.outputs)
    live = None if is_whole else [sequence.index for sequence in request.sequences]
    return multinomial.Turn(request.generator, len(request.outputs), live)


def _is_first(request: Request) -> bool:
    return not request.outputs[0].token_ids
