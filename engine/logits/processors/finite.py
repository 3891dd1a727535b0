"""Scores as numbers and as log-probabilities."""

import torch
from torch import Tensor

from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.rows import Rows
from beamhouse.engine.state.request import Request


class RemoveInvalidValues(Processor):
    """NaN becomes 0, +inf the largest and -inf the smallest finite number.

    Equals transformers.InfNanRemoveLogitsProcessor.
    """

    name = "remove_invalid_values"
    reads = frozenset({"remove_invalid_values"})
    equals = "InfNanRemoveLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return request.config.remove_invalid_values is True

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return scores.nan_to_num_()


class RenormalizeLogits(Processor):
    """Log softmax after everything else.

    Equals transformers.LogitNormalization, but leaves a row that has no token left at -inf, which is NaN there.
    """

    name = "renormalize_logits"
    reads = frozenset({"renormalize_logits"})
    equals = "LogitNormalization"

    def applies(self, request: Request) -> bool:
        return request.config.renormalize_logits is True

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return scores.log_softmax(-1).where(~scores.isneginf(), -torch.inf)
