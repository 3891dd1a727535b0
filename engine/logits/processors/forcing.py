"""Tokens that must be chosen at a fixed place."""

import torch
from torch import Tensor

from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.rows import Ids, Rows, as_ids
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Row
from beamhouse.schemas.generation.resolved import given


class ForcedBos(Processor):
    """Force a token where the sequence holds exactly one. Equals transformers.ForcedBOSTokenLogitsProcessor."""

    name = "forced_bos_token_id"
    reads = frozenset({"forced_bos_token_id"})
    equals = "ForcedBOSTokenLogitsProcessor"
    forced = Slot[Ids](name)

    def applies(self, request: Request) -> bool:
        return request.config.forced_bos_token_id is not None

    def acts(self, row: Row) -> bool:
        return len(row.sequence.token_ids) == 1

    def prepare(self, request: Request, vocab_size: int) -> None:
        request.memory[self.forced] = as_ids([given(request.config.forced_bos_token_id)])

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return force(rows, scores, [row.request.memory[self.forced] for row in rows])


class ForcedEos(Processor):
    """Force one of some tokens at the last place `max_length` leaves.

    Equals transformers.ForcedEOSTokenLogitsProcessor.
    """

    name = "forced_eos_token_id"
    reads = frozenset({"forced_eos_token_id"})
    equals = "ForcedEOSTokenLogitsProcessor"
    forced = Slot[Ids](name)

    def applies(self, request: Request) -> bool:
        return request.config.forced_eos_token_id is not None

    def acts(self, row: Row) -> bool:
        return len(row.sequence.token_ids) + 1 == row.request.config.max_length

    def prepare(self, request: Request, vocab_size: int) -> None:
        forced = request.config.forced_eos_token_id
        assert forced is not None, "it applies"
        request.memory[self.forced] = as_ids([forced] if isinstance(forced, int) else forced)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return force(rows, scores, [row.request.memory[self.forced] for row in rows])


def force(rows: Rows, scores: Tensor, ids: list[Ids]) -> Tensor:
    """0 for the tokens `ids` of each row, -inf for all others."""
    scores.fill_(-torch.inf)
    scores[rows.places(ids)] = 0.0
    return scores
