"""What the step loop asks of whatever runs the model."""

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Protocol

import torch

from beamhouse.engine.state.batch import Batch, Forward


@dataclass(frozen=True, slots=True)
class Inspection:
    """What somebody wants to see of a pass. places: of tokens, ascending. layers: negative ones count from the last;
    None: all. num_prompt: how many tokens were computed at once before the others.
    """

    places: Seq[int]
    layers: Seq[int] | None
    hidden_states: bool
    attentions: bool
    num_prompt: int = 0

    def of_layers(self, number: int) -> list[int]:
        """The layers of those there are, each as asked for, from 0 on."""
        if self.layers is None:
            return list(range(number))
        return [layer % number for layer in self.layers if -number <= layer < number]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a piece of a pass showed at n of the places asked for, float32 and on the host, by layer.

    hidden_states: (n, d). attentions: (n, H, K), over the K tokens up to the end of the piece.
    """

    places: Seq[int]
    hidden_states: dict[int, torch.Tensor]
    attentions: dict[int, torch.Tensor]


class Runner(Protocol):
    """One model and the tensors of its cache."""

    name: str
    device: torch.device

    @property
    def vocab_size(self) -> int: ...

    @property
    def max_len(self) -> int:
        """Most tokens a sequence may have."""
        ...

    def forward(self, batch: Batch) -> Forward:
        """Feed a batch whose blocks are reserved, and move `num_cached` of its sequences forward."""
        ...

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (n, d) through the model's head alone: (n, V) float32."""
        ...


class InspectableRunner(Runner, Protocol):
    """A runner that also shows what it computed on the way."""

    def inspect(self, token_ids: Seq[int], inspection: Inspection) -> Iterator[Seen]:
        """Look into a finished sequence by one more pass over it, piece by piece."""
        ...
