"""The rows one call of a processor sees: their parameters and tokens as columns."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beamhouse.engine.logits.sparse_scores import Survivors
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Row, Sequence

Ids = npt.NDArray[np.int64]

_PROMPT, _TOKENS = Slot[Ids]("prompt_ids"), Slot[Ids]("token_ids")


class Rows:
    """Some rows of a step. Built once per step; what is costly is computed when first asked for.

    survivors: the tokens that a cut has left of all these rows, or more; None while nobody knows.
    """

    __slots__ = ("_history", "_picked", "_prompts", "_rows", "device", "survivors")

    def __init__(self, rows: Seq[Row], device: torch.device) -> None:
        self._rows = rows
        self._history: Tensor | None = None
        self._prompts: Tensor | None = None
        self._picked: dict[tuple[int, ...], Rows] = {}
        self.device = device
        self.survivors: Survivors | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def pick(self, places: Seq[int]) -> "Rows":
        """The rows at `places`; the same places give the same object, with its columns."""
        key = tuple(places)
        if key not in self._picked:
            self._picked[key] = Rows([self._rows[place] for place in places], self.device)
        return self._picked[key]

    def column(self, field: str, change: Callable[[float], float] = float) -> Tensor:
        """A field of each row's configuration. (R,) float32, changed in double precision before it is rounded."""
        return self.floats([change(getattr(row.request.config, field)) for row in self._rows])

    def floats(self, values: Seq[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).to(torch.float32).to(self.device)

    def ints(self, values: Seq[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64).to(self.device)

    @property
    def history(self) -> Tensor:
        """All tokens of each row, padded by repeating the row's first one. (R, L) int64."""
        if self._history is None:
            self._history = self._padded([token_array(row.sequence) for row in self._rows])
        return self._history

    @property
    def prompts(self) -> Tensor:
        """The prompt of each row, padded by repeating its first token. (R, L) int64."""
        if self._prompts is None:
            self._prompts = self._padded([prompt_array(row.sequence) for row in self._rows])
        return self._prompts

    def places(self, ids: Seq[Ids]) -> tuple[Tensor, Tensor]:
        """Row and token of every entry, for `ids` given row by row. Both (N,) int64."""
        rows = np.repeat(np.arange(len(ids)), [len(one) for one in ids])
        tokens = np.concatenate(ids) if ids else np.empty(0, np.int64)
        return torch.from_numpy(rows).to(self.device), torch.from_numpy(tokens).to(self.device)

    def _padded(self, ids: Seq[Ids]) -> Tensor:
        padded = np.empty((len(ids), max(len(one) for one in ids)), np.int64)
        for place, one in enumerate(ids):
            padded[place, : len(one)] = one
            padded[place, len(one) :] = one[0]
        return torch.from_numpy(padded).to(self.device)


def prompt_array(sequence: Sequence) -> Ids:
    """The prompt as an array, made once per sequence and shared with its forks."""
    known = sequence.memory.get(_PROMPT)
    if known is None:
        known = as_ids(sequence.token_ids[: sequence.num_prompt])
        sequence.memory[_PROMPT] = known
    return known


def token_array(sequence: Sequence) -> Ids:
    """All tokens as an array, to which each step adds its own."""
    known = sequence.memory.get(_TOKENS)
    if known is None:
        known = prompt_array(sequence)
    if len(known) < len(sequence.token_ids):
        known = np.concatenate([known, as_ids(sequence.token_ids[len(known) :])])
        sequence.memory[_TOKENS] = known
    return known


def generated_array(sequence: Sequence) -> Ids:
    """The tokens behind the prompt."""
    return token_array(sequence)[sequence.num_prompt :]


def as_ids(token_ids: Seq[int]) -> Ids:
    return np.fromiter(token_ids, np.int64, len(token_ids))
