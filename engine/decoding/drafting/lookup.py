"""Prompt lookup: what followed an earlier occurrence of the newest n-gram is proposed again."""

from collections.abc import Iterator
from collections.abc import Sequence as Seq

import numpy as np
import torch

from beamhouse.engine.decoding.drafting.drafter import Draft, Drafter, room_of
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.logits.rows import Ids, token_array
from beamhouse.engine.state.request import Request, Row
from beamhouse.schemas.generation.resolved import given


class PromptLookup(Drafter):
    """Longer n-grams first, of each the first occurrence with an allowed continuation. Knows no probabilities.

    The draft ends before a token the processors forbid and before an end token. Equals PromptLookupCandidateGenerator
    of transformers, except with `top_h`, `top_p` and `typical_p`: asked with equal logits they forbid arbitrary tokens
    there, so that the drafts are shorter and the random choices behind them others.
    """

    def draft(self, requests: Seq[Request], pipeline: Pipeline) -> dict[Request, Draft]:
        drafts = {}
        for request in requests:
            found = _look_up(request, pipeline)
            if found:
                drafts[request] = Draft(found[: room_of(request)], num_proposed=len(found))
        return drafts

    def release(self, request: Request) -> None:
        return


def _look_up(request: Request, pipeline: Pipeline) -> list[int]:
    for candidate in _continuations(request):
        allowed = allowed_beginning(request, candidate, pipeline)
        if allowed:
            return _before_end(request, allowed)
    return []


def _continuations(request: Request) -> Iterator[list[int]]:
    """What followed each earlier occurrence, in the order in which they are tried."""
    config, token_ids = request.config, token_array(request.sequences[0])
    longest = min(config.longest_ngram, len(token_ids) - 1)
    most = given(config.prompt_lookup_num_tokens)
    for size in range(longest, 0, -1):
        for start in _occurrences(token_ids, size) + size:
            yield token_ids[start : start + most].tolist()


def _occurrences(token_ids: Ids, size: int) -> Ids:
    """Where the last `size` tokens stand, their own place left out: nothing follows there."""
    starts = np.flatnonzero(token_ids[:-size] == token_ids[-size])
    for place in range(1, size):
        starts = starts[token_ids[starts + place] == token_ids[place - size]]
    return starts


def allowed_beginning(request: Request, token_ids: list[int], pipeline: Pipeline) -> list[int]:
    """The proposed tokens up to the first that the request's processors forbid.

    They are asked with equal logits, one position after the other: behind a forbidden token nothing is defined.
    """
    sequence = request.sequences[0]
    neutral = torch.ones(1, pipeline.vocab_size, device=pipeline.device)
    lowest = torch.finfo(torch.float32).min
    for place, token in enumerate(token_ids):
        if not 0 <= token < pipeline.vocab_size:
            return token_ids[:place]
        scores = pipeline.forbid([Row(request, sequence.ahead(token_ids[:place]))], neutral)
        is_forbidden = scores is not neutral and not float(scores[0, token]) > lowest
        if is_forbidden or request.failure is not None:
            return token_ids[:place]
    return token_ids


def _before_end(request: Request, token_ids: list[int]) -> list[int]:
    for place, token in enumerate(token_ids):
        if token in request.ends:
            return token_ids[:place]
    return token_ids
