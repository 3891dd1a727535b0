"""Multinomial sampling: a draw from the processed distribution, each request from its own generator."""

from collections.abc import Sequence as Seq
from typing import ClassVar

import torch

from engine.batch import Choice, Forward, Outcome
from engine.decoding.strategy import failures, scored
from engine.logits.guard import bad_rows
from engine.logits.pipeline import Pipeline
from engine.request import Request, Row
from schemas.generation import GenerationMode


class Sample:
    """Equals `torch.manual_seed(seed); generate(do_sample=True)` on a batch of one prompt.

    `torch.multinomial` draws one sample as an exponential race: the token with the largest p / q wins, q being
    exponential draws of the shape of p. The races of all rows run in one call here, but each request's q comes from
    its own generator in the library's order: at every step for all `num_return_sequences` rows, ended ones too.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.SAMPLE
    reads: ClassVar[frozenset[str]] = frozenset({"do_sample", "num_beams", "num_return_sequences"})

    def advance(self, requests: Seq[Request], forward: Forward, pipeline: Pipeline) -> Outcome:
        rows, logits, scores = scored(requests, forward, pipeline)
        sources = [at for at, row in enumerate(rows) for _ in range(self._num_picks(row))]
        probabilities = scores.softmax(-1)  # (R, V)
        is_bad = bad_rows(scores, for_sampling=True)
        races = torch.cat([self._race(request, scores) for request in requests])  # (picks, V)
        picked = (probabilities[torch.tensor(sources, device=scores.device)] / races).argmax(-1)
        packed = torch.cat([picked, is_bad.to(picked.dtype)]).tolist()  # one transfer
        tokens, bad = packed[: len(sources)], packed[len(sources) :]
        failed = failures(rows, [bool(flag) for flag in bad])
        choices: dict[Request, list[Choice]] = {}
        for at, token in zip(sources, tokens, strict=True):
            if rows[at].request not in failed:
                choices.setdefault(rows[at].request, []).append(Choice(rows[at].sequence, [token]))
        return Outcome(rows, logits, scores, choices, failed)

    @staticmethod
    def _num_picks(row: Row) -> int:
        """The first step draws all sequences from the one prompt row; later each row draws for itself."""
        return _num_sequences(row.request) if _is_first(row.request) else 1

    @staticmethod
    def _race(request: Request, scores: torch.Tensor) -> torch.Tensor:
        """Exponential draws for the request's live rows, in their order. (picks, V)"""
        shape = (_num_sequences(request), scores.shape[1])
        draws = torch.empty(shape, device=scores.device, dtype=scores.dtype).exponential_(generator=request.generator)
        if _is_first(request) or len(request.sequences) == len(draws):
            return draws
        return draws[[sequence.index for sequence in request.sequences]]


def _num_sequences(request: Request) -> int:
    return request.config.num_return_sequences or 1


def _is_first(request: Request) -> bool:
    return not request.ended and len(request.sequences) == 1 and request.sequences[0].num_generated == 0
