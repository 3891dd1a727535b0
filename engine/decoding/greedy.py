"""Greedy search: the best-scored token, the first of them on ties."""

from collections.abc import Sequence as Seq
from typing import ClassVar

from engine.batch import Choice, Forward, Outcome
from engine.decoding.strategy import failures, scored
from engine.logits.guard import bad_rows
from engine.logits.pipeline import Pipeline
from engine.request import Request
from schemas.generation import GenerationMode


class Greedy:
    """Equals `generate()` with `do_sample=False`, `num_beams=1`.

    A row without any finite score goes on with the first token, as in the library; a row with NaN fails.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.GREEDY_SEARCH
    reads: ClassVar[frozenset[str]] = frozenset({"do_sample", "num_beams", "num_return_sequences"})

    def advance(self, requests: Seq[Request], forward: Forward, pipeline: Pipeline) -> Outcome:
        rows, logits, scores = scored(requests, forward, pipeline)
        best = scores.argmax(-1).where(~bad_rows(scores, for_sampling=False), -1)  # (R,), -1 marks a bad row
        picked = best.tolist()
        failed = failures(rows, [token < 0 for token in picked])
        choices = {
            row.request: [Choice(row.sequence, [token])]
            for row, token in zip(rows, picked, strict=True)
            if row.request not in failed
        }
        return Outcome(rows, logits, scores, choices, failed)
