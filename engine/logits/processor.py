"""What every logits processor is."""

from collections.abc import Sequence as Seq
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from beamhouse.engine.link.errors import invalid
from beamhouse.engine.logits.rows import Ids, Rows, as_ids
from beamhouse.engine.state.request import Request, Row
from beamhouse.schemas.words import ProblemCode


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


def check_ids(field: str, ids: Ids, vocab_size: int) -> None:
    """Raises InvalidRequest when an id lies outside the vocabulary."""
    if len(ids) and not (ids.min() >= 0 and ids.max() < vocab_size):
        worst = int(ids.max() if ids.max() >= vocab_size else ids.min())
        raise invalid(
            field, ProblemCode.OUT_OF_RANGE, f"{field.split('.')[-1]} holds {worst}; allowed: 0 to {vocab_size - 1}"
        )
