"""Penalties on tokens that have been there before."""

import torch
from torch import Tensor

from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.rows import Rows
from beamhouse.engine.state.request import Request


class RepetitionPenalty(Processor):
    """Make tokens of the sequence, prompt included, less likely: positive scores are divided, negative multiplied.

    Source: arXiv:1909.05858. Equals transformers.RepetitionPenaltyLogitsProcessor.
    """

    name = "repetition_penalty"
    reads = frozenset({"repetition_penalty"})
    equals = "RepetitionPenaltyLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return request.config.repetition_penalty not in (None, 1.0)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return _penalize(scores, rows.history, rows.column("repetition_penalty"))


class EncoderRepetitionPenalty(Processor):
    """The inverse for tokens of the prompt: above 1 they become likelier.

    Equals transformers.EncoderRepetitionPenaltyLogitsProcessor on a decoder-only model.
    """

    name = "encoder_repetition_penalty"
    reads = frozenset({"encoder_repetition_penalty"})
    equals = "EncoderRepetitionPenaltyLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return request.config.encoder_repetition_penalty not in (None, 1.0)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return _penalize(scores, rows.prompts, rows.column("encoder_repetition_penalty", lambda penalty: 1 / penalty))


def _penalize(scores: Tensor, token_ids: Tensor, penalty: Tensor) -> Tensor:
    """token_ids: (R, L), repeats are harmless. penalty: (R,)."""
    seen = scores.gather(1, token_ids)  # (R, L)
    factor = penalty[:, None]
    return scores.scatter_(1, token_ids, torch.where(seen < 0, seen * factor, seen / factor))
