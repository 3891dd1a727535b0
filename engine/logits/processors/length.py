"""What the length of a sequence does to its end tokens."""

import math

import torch
from torch import Tensor

from beamhouse.engine.logits.processor import Processor, ban, known_ids
from beamhouse.engine.logits.rows import Ids, Rows, as_ids
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Row
from beamhouse.schemas.generation.resolved import given


class MinLength(Processor):
    """Ban the end tokens while the sequence, prompt included, is shorter.

    Equals transformers.MinLengthLogitsProcessor.
    """

    name = "min_length"
    reads = frozenset({"min_length"})
    equals = "MinLengthLogitsProcessor"
    ends = Slot[Ids](name)

    def applies(self, request: Request) -> bool:
        return bool(request.config.eos_token_ids) and request.config.min_length > 0

    def acts(self, row: Row) -> bool:
        return len(row.sequence.token_ids) < row.request.config.min_length

    def prepare(self, request: Request, vocab_size: int) -> None:
        request.memory[self.ends] = known_ids(request.config.eos_token_ids, vocab_size)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return ban(rows, scores, [row.request.memory[self.ends] for row in rows])


class MinNewTokens(Processor):
    """Ban the end tokens while fewer tokens are generated. Equals transformers.MinNewTokensLengthLogitsProcessor."""

    name = "min_new_tokens"
    reads = frozenset({"min_new_tokens"})
    equals = "MinNewTokensLengthLogitsProcessor"
    ends = Slot[Ids](name)

    def applies(self, request: Request) -> bool:
        return bool(request.config.eos_token_ids and request.config.min_new_tokens)

    def acts(self, row: Row) -> bool:
        return row.sequence.num_generated < given(row.request.config.min_new_tokens)

    def prepare(self, request: Request, vocab_size: int) -> None:
        request.memory[self.ends] = known_ids(request.config.eos_token_ids, vocab_size)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return ban(rows, scores, [row.request.memory[self.ends] for row in rows])


class ExponentialDecay(Processor):
    """Make end tokens likelier the more tokens are generated: |score| x (factor ^ (tokens past start) - 1) is added.

    Equals transformers.ExponentialDecayLengthPenalty, and goes on with +inf where the power leaves the range of
    double precision, at which the library raises.
    """

    name = "exponential_decay_length_penalty"
    reads = frozenset({"exponential_decay_length_penalty"})
    equals = "ExponentialDecayLengthPenalty"
    ends = Slot[Ids](name)

    def applies(self, request: Request) -> bool:
        return request.config.exponential_decay_length_penalty is not None

    def acts(self, row: Row) -> bool:
        return _past_start(row) > 0

    def prepare(self, request: Request, vocab_size: int) -> None:
        request.memory[self.ends] = as_ids(request.config.eos_token_ids)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        ends = [row.request.memory[self.ends] for row in rows]
        at = rows.places(ends)
        growth = rows.floats([_growth(row) for row in rows])[at[0]]  # (N,)
        old = scores[at]
        added = (old.abs() * growth).masked_fill(~old.isfinite(), 0.0)
        scores[at] = old + added
        return scores


def _past_start(row: Row) -> int:
    start, _ = given(row.request.config.exponential_decay_length_penalty)
    return row.sequence.num_generated - start


def _growth(row: Row) -> float:
    _, factor = given(row.request.config.exponential_decay_length_penalty)
    try:
        return math.pow(factor, _past_start(row)) - 1
    except OverflowError:
        return torch.inf
