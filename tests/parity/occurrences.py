"""The penalties that `generate()` lacks, as a plain formula among its processors."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation import logits_process as library

from tests.parity.models import reference

BEFORE = (
    library.UnbatchedClassifierFreeGuidanceLogitsProcessor,
    library.SequenceBiasLogitsProcessor,
    library.EncoderRepetitionPenaltyLogitsProcessor,
    library.RepetitionPenaltyLogitsProcessor,
)
"""What the library applies before; no more than a phrase that is banned is a bias."""


class OccurrencePenalties(LogitsProcessor):
    """score[t] -= count(t) * frequency + (count(t) > 0) * presence, with the counts of what was generated."""

    def __init__(self, num_prompt: int, frequency: float, presence: float) -> None:
        self.num_prompt, self.frequency, self.presence = num_prompt, frequency, presence

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.clone()
        for row, token_ids in enumerate(input_ids.tolist()):
            for token, count in Counter(token_ids[self.num_prompt :]).items():
                scores[row, token] -= count * self.frequency + self.presence
        return scores


@contextmanager
def penalized(family: str, fields: dict[str, Any], num_prompt: int) -> Iterator[None]:
    """While this lasts the library's model obeys `frequency_penalty` and `presence_penalty` of the fields."""
    frequency, presence = (fields.get(name, 0.0) for name in ("frequency_penalty", "presence_penalty"))
    if not (frequency or presence):
        yield
        return
    get = reference(family)._get_logits_processor

    def with_ours(*args: Any, **kwargs: Any) -> LogitsProcessorList:
        processors = get(*args, **kwargs)
        # Those that are handed to a draft model are handed on.
        if not any(isinstance(one, OccurrencePenalties) for one in processors):
            place = sum(type(one) in BEFORE for one in processors)
            processors.insert(place, OccurrencePenalties(num_prompt, frequency, presence))
        return processors

    with patch.object(reference(family), "_get_logits_processor", with_ours):
        yield
