"""Runs a draft model for many requests at once, over a cache of its own."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch

from beamhouse.engine.runners.runner import Runner
from beamhouse.engine.state.batch import Batch, Feed, Forward
from beamhouse.engine.state.block_cache import BlockCache, num_alike
from beamhouse.engine.state.request import Request, Sequence


@dataclass(eq=False, slots=True)
class OpenDraft:
    """What is to be drafted for one request.

    token_ids: all it has, in the draft model's vocabulary, then what it adds.
    limit: most tokens to add.
    """

    request: Request
    token_ids: list[int]
    limit: int


Choose = Callable[[list[OpenDraft], torch.Tensor], list[int | None]]
"""Picks a token for each draft, from logits (R, V of the draft model) float32; None ends the draft."""


class DraftRunner:
    """A draft model, its cache, and one sequence in it for each request that drafts.

    What a sequence holds follows from the request's tokens, so its blocks may be freed at any time: they are computed
    anew when its request drafts again, with the same result. chunk: most tokens that one pass feeds.
    """

    def __init__(self, runner: Runner, cache: BlockCache, chunk: int) -> None:
        self.runner, self.cache, self.chunk = runner, cache, chunk
        self._sequences: dict[Request, Sequence] = {}  # the longest unused first

    @property
    def max_len(self) -> int:
        """Most tokens a sequence may have."""
        return min(self.runner.max_len, self.cache.num_blocks * self.cache.block_size)

    def run(self, drafts: Seq[OpenDraft], choose: Choose) -> None:
        """Extend all drafts by one token in every pass. Those that do not fit the cache together go in groups."""
        for group in self._groups(drafts):
            sequences = {draft: self._sequence(draft) for draft in group}
            self._make_room(group)
            while group:
                self._feed_beginnings([sequences[draft] for draft in group])
                forward = self._forward([(sequences[draft], sequences[draft].num_missing) for draft in group])
                picked = choose(group, forward.last([sequences[draft] for draft in group]))
                for draft, token in zip(group, picked, strict=True):
                    if token is not None:
                        self._append(sequences[draft], token)
                group = [draft for draft, token in zip(group, picked, strict=True) if token is not None]

    def release(self, request: Request) -> None:
        """Free the sequence of a request, if it has one."""
        sequence = self._sequences.pop(request, None)
        if sequence is not None:
            self.cache.free(sequence)

    def _groups(self, drafts: Seq[OpenDraft]) -> Iterator[list[OpenDraft]]:
        group: list[OpenDraft] = []
        room = self.cache.num_blocks
        for draft in drafts:
            draft.limit = min(draft.limit, self.max_len - len(draft.token_ids))
            if draft.limit < 1 or not draft.token_ids:
                continue
            needed = self._num_blocks(draft)
            if needed > room:
                yield group
                group, room = [], self.cache.num_blocks
            group.append(draft)
            room -= needed
        yield group

    def _num_blocks(self, draft: OpenDraft) -> int:
        return self.cache.num_blocks_for(len(draft.token_ids) + draft.limit)

    def _sequence(self, draft: OpenDraft) -> Sequence:
        """The request's sequence with the draft's tokens; what was cached of others, or turned otherwise, is not."""
        sequence = self._sequences.pop(draft.request, None)
        if sequence is None:
            sequence = Sequence([], num_prompt=len(draft.token_ids), renewed_at=self.cache.stretch.renewed_at)
        self._sequences[draft.request] = sequence
        num_at_once, num_same = sequence.num_at_once, num_alike(sequence.token_ids, draft.token_ids)
        sequence.token_ids = list(draft.token_ids)
        is_same = sequence.num_at_once == num_at_once
        self.cache.truncate(sequence, min(num_same, len(draft.token_ids) - 1) if is_same else 0)
        return sequence

    def _append(self, sequence: Sequence, token: int) -> None:
        num_at_once = sequence.num_at_once
        sequence.token_ids.append(token)
        if sequence.num_at_once != num_at_once:
            self.cache.truncate(sequence, 0)

    def _make_room(self, group: list[OpenDraft]) -> None:
        """Free what requests outside the group hold, the longest unused first."""
        drafting = {draft.request for draft in group}
        needed = sum(self._num_blocks(draft) - len(self._sequences[draft.request].block_ids) for draft in group)
        for request in list(self._sequences):
            if needed <= self.cache.num_free:
                return
            if request not in drafting:
                self.cache.free(self._sequences[request])

    def _feed_beginnings(self, sequences: list[Sequence]) -> None:
        """Feed what is too much for one pass, all but the last token of each sequence."""
        while sum(sequence.num_missing for sequence in sequences) > max(self.chunk, len(sequences)):
            budget, shares = self.chunk, []
            for sequence in sequences:
                share = min(sequence.num_missing - 1, budget)
                if share:
                    shares.append((sequence, share))
                    budget -= share
            self._forward(shares, num_logits=0)

    def _forward(self, shares: list[tuple[Sequence, int]], num_logits: int = 1) -> Forward:
        feeds = []
        for sequence, share in shares:
            self.cache.reserve(sequence, share)
            start = sequence.num_cached
            feeds.append(Feed(sequence, sequence.token_ids[start : start + share], num_logits))
        return self.runner.forward(Batch(feeds, []))
