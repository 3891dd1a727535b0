"""Bans on completing an n-gram a second time."""

import numpy as np
from torch import Tensor

from beamhouse.engine.logits.processor import Processor, ban
from beamhouse.engine.logits.rows import Ids, Rows, prompt_array, token_array
from beamhouse.engine.state.request import Request

_COMPARED_IN_STEPS = 16
"""So many tokens of a prefix are compared at all places at once; the few places left are compared whole."""


class NoRepeatNgram(Processor):
    """Ban the token that would complete an n-gram the sequence already holds, prompt included.

    Equals transformers.NoRepeatNGramLogitsProcessor.
    """

    name = "no_repeat_ngram_size"
    reads = frozenset({"no_repeat_ngram_size"})
    equals = "NoRepeatNGramLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return request.config.no_repeat_ngram_size > 0

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        banned = []
        for row in rows:
            ids = token_array(row.sequence)
            banned.append(followers(ids, ids, row.request.config.no_repeat_ngram_size))
        return ban(rows, scores, banned)


class EncoderNoRepeatNgram(Processor):
    """Ban the token that would complete an n-gram of the prompt.

    Equals transformers.EncoderNoRepeatNGramLogitsProcessor on a decoder-only model.
    """

    name = "encoder_no_repeat_ngram_size"
    reads = frozenset({"encoder_no_repeat_ngram_size"})
    equals = "EncoderNoRepeatNGramLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return request.config.encoder_no_repeat_ngram_size > 0

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        banned = []
        for row in rows:
            size = row.request.config.encoder_no_repeat_ngram_size
            banned.append(followers(prompt_array(row.sequence), token_array(row.sequence), size))
        return ban(rows, scores, banned)


def followers(text: Ids, ids: Ids, size: int) -> Ids:
    """The tokens that follow in `text` wherever it holds the last `size - 1` tokens of `ids`."""
    num_prefix = size - 1
    if len(text) < size or len(ids) < num_prefix:
        return text[:0]
    ends = np.arange(num_prefix, len(text))  # places right behind a possible prefix
    for back in range(1, min(num_prefix, _COMPARED_IN_STEPS) + 1):
        ends = ends[text[ends - back] == ids[-back]]
        if not len(ends):
            return text[:0]
    if num_prefix > _COMPARED_IN_STEPS:
        prefix, width = ids[-num_prefix:].tobytes(), text.itemsize
        data = text.tobytes()
        ends = ends[[data[(end - num_prefix) * width : end * width] == prefix for end in ends]]
    return text[ends]
