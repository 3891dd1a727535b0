"""What goes through the model in one step, and what comes of it."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

import torch

from engine.cache import BlockCopy
from engine.request import Request, Row, Sequence


@dataclass(frozen=True, slots=True)
class Feed:
    """The tokens one sequence sends through the model: those after its cached ones.

    num_logits: how many of the last fed positions need logits; 0 for a part of a prompt that is not its end.
    """

    sequence: Sequence
    token_ids: list[int]
    num_logits: int = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """All feeds of a step. ready: the requests whose sequences are all fed to their ends, so that they advance."""

    feeds: list[Feed]
    ready: list[Request]
    copies: list[BlockCopy] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Forward:
    """What the model said. logits: (N, V) float32, the asked positions of all feeds in order.

    spans: for each fed sequence, the rows of `logits` that are its own.
    """

    logits: torch.Tensor
    spans: dict[Sequence, range]

    def last(self, sequences: Seq[Sequence]) -> torch.Tensor:
        """The logits after the newest token of each sequence. (R, V) float32."""
        rows = [self.spans[sequence][-1] for sequence in sequences]
        if rows == list(range(len(self.logits))):
            return self.logits
        return self.logits[torch.tensor(rows, device=self.logits.device)]


@dataclass(frozen=True, slots=True)
class Choice:
    """A row of the next step: the sequence it continues and the tokens it adds."""

    parent: Sequence
    token_ids: list[int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy made of one step for its requests.

    rows: the rows it scored; logits and scores: (R, V) float32, before and after the processors.
    choices: the rows of the next step, by request. failed: requests that cannot go on, and why.
    """

    rows: list[Row]
    logits: torch.Tensor
    scores: torch.Tensor
    choices: dict[Request, list[Choice]]
    failed: dict[Request, str] = field(default_factory=dict)
