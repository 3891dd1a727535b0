"""Multinomial sampling: a draw from the processed distribution, each request from its own generator."""

from collections.abc import Sequence as Seq
from typing import ClassVar

import torch

from engine.batch import Outcome
from engine.decoding.strategy import Grown, Scored, Step, Strategy, advanced, failures, scored
from engine.logits.guard import bad_rows
from engine.request import Request
from schemas.generation import GenerationMode


class Sample(Strategy):
    """Equals `torch.manual_seed(seed); generate(do_sample=True)` on a batch of one prompt.

    `torch.multinomial` draws one sample as an exponential race: the token with the largest p / q wins, q being
    exponential draws of the shape of p. The races of all rows run in one call here, but each request's q comes from
    its own generator in the library's order: at every step for all `num_return_sequences` rows, ended ones too.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.SAMPLE
    reads: ClassVar[frozenset[str]] = frozenset({"do_sample", "num_beams", "num_return_sequences"})

    def advance(self, requests: Seq[Request], step: Step) -> Outcome:
        return draw(scored(requests, step), requests, step)


def draw(given: Scored, requests: Seq[Request], step: Step) -> Outcome:
    """Every row goes on with a drawn token; the first step draws all sequences from the one prompt row."""
    sources = [at for at, row in enumerate(given.rows) for _ in range(_num_picks(row.request))]
    probabilities = given.scores.softmax(-1)  # (R, V)
    is_bad = bad_rows(given.scores, for_sampling=True)
    races = torch.cat([_race(request, given.scores) for request in requests])  # (picks, V)
    picked = (probabilities[torch.tensor(sources, device=given.scores.device)] / races).argmax(-1)
    packed = torch.cat([picked, is_bad.to(picked.dtype)]).tolist()  # one transfer
    tokens, bad = packed[: len(sources)], packed[len(sources) :]
    failed = failures(given.rows, [bool(flag) for flag in bad])
    grown: dict[Request, list[Grown]] = {}
    for at, token in zip(sources, tokens, strict=True):
        row = given.rows[at]
        siblings = grown.setdefault(row.request, [])
        index = len(siblings) if _is_first(row.request) else row.sequence.index
        siblings.append(Grown(row.sequence, index, [token], given.logits[at : at + 1], given.scores[at : at + 1]))
    return Outcome({one: advanced(one, grown[one], step) for one in requests if one not in failed}, failed)


def _num_picks(request: Request) -> int:
    return len(request.outputs) if _is_first(request) else 1


def _race(request: Request, scores: torch.Tensor) -> torch.Tensor:
    """Exponential draws for the request's live rows, in their order. (picks, V)"""
    shape = (len(request.outputs), scores.shape[1])
    draws = torch.empty(shape, device=scores.device, dtype=scores.dtype).exponential_(generator=request.generator)
    if _is_first(request) or len(request.sequences) == len(draws):
        return draws
    return draws[[sequence.index for sequence in request.sequences]]


def _is_first(request: Request) -> bool:
    return not request.outputs[0].token_ids
