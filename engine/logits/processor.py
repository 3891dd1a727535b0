"""What every logits processor is."""

from collections.abc import Sequence as Seq
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from beamhouse.engine.logits.rows import Ids, Rows, as_ids
from beamhouse.engine.state.request import Request, Row


class Processor(Protocol):
    """Changes the scores of the rows that ask for it. Keeps nothing between steps.

    name: the request field it obeys. reads: the GenerationConfig fields it obeys.
    equals: the class of transformers it gives the results of, or an empty string.
    """

    name: ClassVar[str]
    reads: ClassVar[frozenset[str]]
    equals: ClassVar[str]

    def applies(self, request: Request) -> bool:
        """Whether this request asks for it at all. Known before its first step."""
        ...

    def acts(self, row: Row) -> bool:
        """Whether it changes this row in this step."""
        return True

    def prepare(self, request: Request, vocab_size: int) -> None:
        """Keep in the memory of the request what is built once. Raises InvalidRequest."""
        return

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        """scores: (R, V) float32, one row for each of `rows`, which it may write into. Returns them or new ones."""
        ...


def ban(rows: Rows, scores: Tensor, ids: list[Ids]) -> Tensor:
    """Give -inf to the tokens `ids` of each row."""
    scores[rows.places(ids)] = -torch.inf
    return scores


def known_ids(token_ids: Seq[int], vocab_size: int) -> Ids:
    """Those inside the vocabulary, where one outside it is no fault."""
    ids = as_ids(token_ids)
    return ids[(ids >= 0) & (ids < vocab_size)]
