"""Penalties on tokens that have been there before."""

import numpy as np
import torch
from torch import Tensor

from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.rows import Rows, generated_array
from beamhouse.engine.state.request import Request, Row


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


class OccurrencePenalty(Processor):
    """Take from a generated token's score `frequency_penalty` for each time it came, and `presence_penalty` once.

    The prompt does not count. Source: the API of OpenAI, which defines both; the library has nothing like it.
    """

    name = "frequency_penalty"
    reads = frozenset({"frequency_penalty", "presence_penalty"})
    equals = ""

    def applies(self, request: Request) -> bool:
        return bool(request.config.frequency_penalty or request.config.presence_penalty)

    def acts(self, row: Row) -> bool:
        return row.sequence.num_generated > 0

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        found = [np.unique(generated_array(row.sequence), return_counts=True) for row in rows]
        at = rows.places([tokens for tokens, _ in found])
        taken = [
            nums * row.request.config.frequency_penalty + row.request.config.presence_penalty
            for row, (_, nums) in zip(rows, found, strict=True)
        ]
        scores[at] -= torch.from_numpy(np.concatenate(taken).astype(np.float32)).to(rows.device)
        return scores


def _penalize(scores: Tensor, token_ids: Tensor, penalty: Tensor) -> Tensor:
    """token_ids: (R, L), repeats are harmless. penalty: (R,)."""
    seen = scores.gather(1, token_ids)  # (R, L)
    factor = penalty[:, None]
    return scores.scatter_(1, token_ids, torch.where(seen < 0, seen * factor, seen / factor))
