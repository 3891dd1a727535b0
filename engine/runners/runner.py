"""What the step loop asks of whatever runs the model."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Protocol

import torch

from engine.batch import Batch, Forward


@dataclass(frozen=True, slots=True)
class Inspection:
    """One teacher-forced pass. hidden_states: L + 1 of (T, d). attentions: L of (H, T, T). float32, on the host."""

    hidden_states: list[torch.Tensor]
    attentions: list[torch.Tensor]


class Runner(Protocol):
    """One model and the tensors of its cache."""

    name: str
    device: torch.device

    @property
    def vocab_size(self) -> int: ...

    @property
    def context_len(self) -> int: ...

    def forward(self, batch: Batch) -> Forward:
        """Feed a batch whose blocks are reserved, and move `num_cached` of its sequences forward."""
        ...

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden states (n, d) through the model's head alone: (n, V) float32."""
        ...

    def inspect(self, token_ids: Seq[int], *, hidden_states: bool, attentions: bool) -> Inspection:
        """Hidden states and attention maps of a finished sequence, from one more pass over all of it."""
        ...
