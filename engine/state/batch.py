"""What goes through the model in one step, and what comes of it."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

import torch

from beamhouse.engine.link.messages import HypothesisUpdate, Tokens
from beamhouse.engine.state.block_cache import BlockCopy
from beamhouse.engine.state.request import Request, Sequence


@dataclass(frozen=True, slots=True)
class Feed:
    """The tokens one sequence sends through the model: those after its cached ones, drafts included.

    num_logits: how many of the last fed positions need logits; 0 for a part of a prompt that is not its end.
    layers: the layers whose hidden states are wanted, of the last `num_hidden` fed positions.
    """

    sequence: Sequence
    token_ids: list[int]
    num_logits: int = 1
    layers: tuple[int, ...] = ()
    num_hidden: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """All feeds of a step. ready: the requests whose sequences are all fed to their ends, so that they advance."""

    feeds: list[Feed]
    ready: list[Request]
    copies: list[BlockCopy] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Forward:
    """What the model said. logits: (N, V) float32, the asked positions of all feeds in order.

    spans: for each fed sequence, the rows of `logits` that are its own. hidden: for each sequence that asked, the
    states of its layers in the order asked, (layers, n, d).
    """

    logits: torch.Tensor
    spans: dict[Sequence, range]
    hidden: dict[Sequence, torch.Tensor] = field(default_factory=dict)

    def last(self, sequences: Seq[Sequence]) -> torch.Tensor:
        """The logits after the newest token of each sequence. (R, V) float32."""
        return self.at([self.spans[sequence][-1] for sequence in sequences])

    def at(self, rows: list[int]) -> torch.Tensor:
        """These rows of the logits, as they are where they are all of them."""
        if rows == list(range(len(self.logits))):
            return self.logits
        return self.logits.index_select(0, torch.tensor(rows, device=self.logits.device))


@dataclass(frozen=True, slots=True)
class Choice:
    """A row of the next step: the sequence it continues, the tokens it adds, and its number (None: the parent's)."""

    parent: Sequence
    token_ids: list[int]
    index: int | None = None

    @property
    def number(self) -> int:
        return self.parent.index if self.index is None else self.index


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A row of scores that was asked for: at which generated position, of which row; logits, scores: (V,) float32."""

    position: int
    index: int
    logits: torch.Tensor
    scores: torch.Tensor


@dataclass(frozen=True, slots=True)
class Advance:
    """How one request goes on. choices: the rows of the next step; none ends it. gains: what became final.

    kept: rows of scores for the answer's tensors. progress: the live hypotheses, best first, where asked for.
    """

    choices: list[Choice]
    gains: list[Tokens] = field(default_factory=list)
    kept: list[KeptRow] = field(default_factory=list)
    progress: list[HypothesisUpdate] = field(default_factory=list)
