"""What a decoding mode is to the step loop, and what all modes do alike."""

from collections.abc import Sequence as Seq
from typing import ClassVar, Protocol

import torch

from engine.batch import Forward, Outcome
from engine.logits.guard import failure_of
from engine.logits.pipeline import Pipeline
from engine.request import Request, Row
from schemas.generation import GenerationMode


class Strategy(Protocol):
    """A decoding mode. It keeps nothing between steps; what must last stands on the requests and their sequences.

    reads: the GenerationConfig fields it obeys, beside those of the processors and stopping criteria.
    """

    mode: ClassVar[GenerationMode]
    reads: ClassVar[frozenset[str]]

    def advance(self, requests: Seq[Request], forward: Forward, pipeline: Pipeline) -> Outcome:
        """Choose the rows of the next step for all requests of this mode at once."""
        ...


def failures(rows: Seq[Row], is_bad: Seq[bool]) -> dict[Request, str]:
    """The requests that own a bad row, with the reason they end for."""
    bad = [row.request for row, flag in zip(rows, is_bad, strict=True) if flag]
    return {request: str(failure_of(request) or "no token can be chosen from the model's scores") for request in bad}


def scored(
    requests: Seq[Request], forward: Forward, pipeline: Pipeline
) -> tuple[list[Row], torch.Tensor, torch.Tensor]:
    """A row for each live sequence, in order; their logits and processed scores, both (R, V) float32."""
    rows = [Row(request, sequence) for request in requests for sequence in request.sequences]
    logits = forward.last([row.sequence for row in rows])
    return rows, logits, pipeline.process(rows, logits)
