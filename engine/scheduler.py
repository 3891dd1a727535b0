"""Which requests run, and what each feeds in the next step."""

import heapq
import itertools
from dataclasses import dataclass

from engine.batch import Batch, Feed
from engine.cache import BlockCache, BlockCopy
from engine.request import Request, Sequence


@dataclass(frozen=True, slots=True)
class Limits:
    """max_rows: sequences in one step. step_tokens: tokens in one step, at least `max_rows`. max_waiting: requests."""

    max_rows: int
    step_tokens: int
    max_waiting: int


class Scheduler:
    """Holds waiting and running requests; plans a step within the token budget and the free blocks.

    A sequence feeds the tokens its cache lacks. A request advances in the step in which all its sequences are fed to
    their ends; while the budget is too small for that, it feeds parts, and every sequence keeps at least one token
    for the step that completes it. When blocks run out, the running request that came last gives up its blocks and
    waits; it is computed anew later, from the tokens it has.
    """

    def __init__(self, cache: BlockCache, limits: Limits) -> None:
        self.cache, self.limits = cache, limits
        self.running: list[Request] = []
        self.num_preemptions = 0
        self._waiting: list[tuple[int, int, Request]] = []
        self._order: dict[Request, tuple[int, int]] = {}
        self._counter = itertools.count()

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether no more requests may wait; those that the next step has rows for do not count."""
        return self.num_waiting >= self.limits.max_waiting + self.limits.max_rows - self._num_rows()

    @property
    def has_work(self) -> bool:
        return bool(self.running or self._waiting)

    def add(self, request: Request) -> None:
        """Queue a request: higher `priority` first, then first come, first served."""
        self._order[request] = (-request.submission.priority, next(self._counter))
        heapq.heappush(self._waiting, (*self._order[request], request))

    def remove(self, request: Request) -> None:
        """Forget a request, waiting or running, and free all it holds."""
        if request not in self._order:
            return
        del self._order[request]
        if request in self.running:
            self.running.remove(request)
        else:
            self._waiting = [entry for entry in self._waiting if entry[2] is not request]
            heapq.heapify(self._waiting)
        for sequence in request.sequences:
            self.cache.free(sequence)

    def expired(self, now: float) -> list[Request]:
        """Requests whose deadline passed before they first ran."""
        return [
            request
            for _, _, request in self._waiting
            if request.started_at is None
            and request.submission.deadline_s is not None
            and now - request.arrived_at > request.submission.deadline_s
        ]

    def schedule(self, now: float) -> Batch:
        """Plan one step. The first to start were admitted first, so the oldest always makes progress."""
        feeds: list[Feed] = []
        copies: list[BlockCopy] = []
        ready: list[Request] = []
        budget = self.limits.step_tokens
        for request in sorted(self.running, key=self._order.__getitem__):
            if request in self.running and self._make_room(request, budget):
                budget -= self._feed(request, budget, feeds, copies, ready)
        while budget > 0 and self._waiting and self._admit(self._waiting[0][2], budget, now):
            budget -= self._feed(self.running[-1], budget, feeds, copies, ready)
        return Batch(feeds, ready, copies)

    def _admit(self, request: Request, budget: int, now: float) -> bool:
        """Move the first waiting request to the running ones if rows and blocks suffice."""
        if self._num_rows() + self._width(request) > self.limits.max_rows or budget < len(request.sequences):
            return False
        wants_all_logits = request.submission.wanted.prompt_logprobs
        if not wants_all_logits:
            for sequence in request.sequences:
                self.cache.match_prefix(sequence, request.submission.cache_salt)
        needed = sum(self.cache.num_needed(s, s.num_missing) for s in request.sequences)
        if needed + len(self.running) > self.cache.num_free:
            for sequence in request.sequences:
                self.cache.free(sequence)
            return False
        heapq.heappop(self._waiting)
        self.running.append(request)
        if request.started_at is None:
            request.started_at = now
            request.num_matched = sum(sequence.num_cached for sequence in request.sequences)
        return True

    def _make_room(self, request: Request, budget: int) -> bool:
        """Preempt later requests until this one can feed; False if it had to give way itself, or has no budget."""
        if budget <= 0:
            return False
        while sum(self.cache.num_needed(s, n) for s, n in self._shares(request, budget)) > self.cache.num_free:
            last = max(self.running, key=self._order.__getitem__)
            self._preempt(last)
            if last is request:
                return False
        return True

    def _preempt(self, request: Request) -> None:
        for sequence in request.sequences:
            self.cache.free(sequence)
        self.running.remove(request)
        heapq.heappush(self._waiting, (*self._order[request], request))
        self.num_preemptions += 1

    def _shares(self, request: Request, budget: int) -> list[tuple[Sequence, int]]:
        """How many tokens each sequence of a request feeds within a budget."""
        if sum(sequence.num_missing for sequence in request.sequences) <= budget:
            return [(sequence, sequence.num_missing) for sequence in request.sequences]
        shares = []
        for sequence in request.sequences:
            share = min(sequence.num_missing - 1, budget)
            shares.append((sequence, share))
            budget -= share
        return shares

    def _feed(
        self, request: Request, budget: int, feeds: list[Feed], copies: list[BlockCopy], ready: list[Request]
    ) -> int:
        """Add a request's feeds to the step; the number of tokens they hold."""
        shares = self._shares(request, budget)
        is_ready = all(share == sequence.num_missing for sequence, share in shares)
        for sequence, share in shares:
            if not share:
                continue
            copy = self.cache.reserve(sequence, share)
            if copy is not None:
                copies.append(copy)
            token_ids = sequence.token_ids[sequence.num_cached : sequence.num_cached + share]
            feeds.append(Feed(sequence, token_ids, self._num_logits(request, sequence, share, is_ready)))
        if is_ready:
            ready.append(request)
        return sum(share for _, share in shares)

    @staticmethod
    def _num_logits(request: Request, sequence: Sequence, share: int, is_ready: bool) -> int:
        if request.submission.wanted.prompt_logprobs and sequence.num_cached < request.num_prompt:
            return share
        return int(is_ready)

    @staticmethod
    def _width(request: Request) -> int:
        """The most rows a request can occupy."""
        return max(request.config.num_return_sequences or 1, len(request.sequences))

    def _num_rows(self) -> int:
        return sum(self._width(request) for request in self.running)
