"""Which requests run, and what each feeds in the next step."""

import heapq
import itertools
from collections.abc import Callable
from collections.abc import Sequence as Seq

from beamhouse.engine.loop.prefill_pace import Pace
from beamhouse.engine.loop.step_budget import StepBudget, StepLimits, begin, feed_of
from beamhouse.engine.state.batch import Batch
from beamhouse.engine.state.block_cache import BlockCache, BlockCopy
from beamhouse.engine.state.request import Request, Sequence

_SPARE_DEADLINES = 64
"""Of requests that no longer wait; they are forgotten together."""

Shares = list[tuple[Sequence, int]]
"""How many tokens each sequence feeds."""


class Scheduler:
    """Holds waiting and running requests; plans a step within the token budget and the free blocks.

    Continuous batching with chunked prefill: requests join and leave at any step, and long prompts are fed in parts.

    A sequence feeds the tokens its cache lacks. A request advances in the step in which all its sequences are fed to
    their ends; while the budget is too small for that, it feeds parts, and every sequence keeps at least one token
    for the step that completes it. Of the prompts the oldest is fed first, as far as the pace allows beside requests
    that decode. What the step computes for one prompt is not computed for another: that one waits and takes the blocks.
    When blocks run out, the running request that came last, of those that the step does not feed yet, gives up its
    blocks and waits; it is computed anew later, from the tokens it has. planned: whom the step was last planned for.
    """

    def __init__(self, cache: BlockCache, limits: StepLimits) -> None:
        self.cache, self.limits = cache, limits
        self.running: list[Request] = []
        self.planned: Request | None = None
        self.num_preemptions = 0
        self._pace = Pace(limits.max_stretch)
        self._plan = StepBudget(0.0, 0)
        self._waiting: list[tuple[int, int, Request]] = []
        self._deadlines: list[tuple[float, int, Request]] = []
        self._order: dict[Request, tuple[int, int]] = {}
        self._counter = itertools.count()

    @property
    def waiting(self) -> list[Request]:
        return [entry[2] for entry in self._waiting]

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
        number = next(self._counter)
        self._order[request] = (-request.submission.priority, number)
        heapq.heappush(self._waiting, (*self._order[request], request))
        if request.submission.deadline_s is not None:
            heapq.heappush(self._deadlines, (request.arrived_at + request.submission.deadline_s, number, request))

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
        self._free(request)

    def expired(self, now: float) -> list[Request]:
        """Requests whose deadline passed before they first ran; each is named once."""
        if len(self._deadlines) > 2 * len(self._waiting) + _SPARE_DEADLINES:
            self._deadlines = [entry for entry in self._deadlines if self._is_new(entry[2])]
            heapq.heapify(self._deadlines)
        found = []
        while self._deadlines and self._deadlines[0][0] < now:
            _, _, request = heapq.heappop(self._deadlines)
            if self._is_new(request):
                found.append(request)
        return found

    def _is_new(self, request: Request) -> bool:
        return request in self._order and request.started_at is None

    def schedule(self, now: float, propose: Callable[[Seq[Request]], None] = lambda requests: None) -> Batch:
        """Plan one step. The first to start were admitted first, so the oldest always makes progress.

        propose: gives requests the drafts they are to feed, or removes them; asked for those that run, and for each
        that could start before its blocks are counted, since drafts take blocks too.
        """
        self.planned = None
        propose(self.running)
        order = sorted(self.running, key=self._order.__getitem__)
        num_free_rows = max(0, self.limits.max_rows - self._num_rows())
        following = [entry[2] for entry in self._waiting[:num_free_rows]]
        plan = self._plan = begin(order, following, self.limits, self._pace, now)
        for request in order:
            self._feed(request, plan)
        while (first := self._next_to_start(plan.prompt_left)) is not None:
            propose([first])
            if first not in self._order:
                continue
            if not self._admit(first):
                break
            self._feed(first, plan)
        return plan.batch

    def restart(self) -> None:
        """Give up every block, and what was known of them: whoever runs waits, and is computed anew from its tokens.

        What is left to do after a fault that may have left the accounting of the cache wrong.
        """
        for request in self.running:
            self._wait_again(request)
        self.running.clear()
        everybody = self.waiting
        for request in everybody:
            self._forget_matched(request)
        self.cache.clear(sequence for request in everybody for sequence in request.fed_sequences)

    def took(self, seconds: float) -> None:
        """How long the last planned step took, once it has run."""
        self._pace.record(self._plan.num_decoded, self._plan.num_prompt, seconds)

    def _next_to_start(self, budget: int) -> Request | None:
        """The first waiting request if there are rows for it, and a token of the budget for each of its sequences."""
        request = self._waiting[0][2] if self._waiting else None
        if request is None or budget < max(1, len(request.fed_sequences)):
            return None
        return request if self._num_rows() + request.config.width <= self.limits.max_rows else None

    def _admit(self, request: Request) -> bool:
        """Move the first waiting request to the running ones if there are blocks for all that it lacks."""
        self.planned = request
        self._reuse(request)
        needed = sum(self.cache.num_needed(sequence, sequence.num_to_feed) for sequence in request.fed_sequences)
        if needed + len(self.running) > self.cache.num_free:
            self._free(request)
            return False
        heapq.heappop(self._waiting)
        self.running.append(request)
        return True

    def _make_room(self, request: Request, shares: Shares, plan: StepBudget) -> bool:
        """Preempt later requests until this one can feed; False if it had to give way itself.

        Those that stand in the plan keep their blocks: what they feed in this step is written there.
        """
        while sum(self.cache.num_needed(sequence, share) for sequence, share in shares) > self.cache.num_free:
            last = max((one for one in self.running if one not in plan.fed), key=self._order.__getitem__)
            self._preempt(last)
            if last is request:
                return False
        return True

    def _preempt(self, request: Request) -> None:
        self._free(request)
        self.running.remove(request)
        self._wait_again(request)

    def _wait_again(self, request: Request) -> None:
        heapq.heappush(self._waiting, (*self._order[request], request))
        self.num_preemptions += 1

    def _shares(self, request: Request, budget: int) -> Shares:
        """How many tokens each sequence of a request feeds within a budget.

        What is too much for one step is fed in parts, of which the last holds at least the newest token and the drafts.
        """
        shares = [(sequence, sequence.num_to_feed) for sequence in request.fed_sequences]
        if sum(share for _, share in shares) <= budget:
            return shares
        shares = []
        for sequence in request.fed_sequences:
            share = min(sequence.num_missing - 1, budget)
            shares.append((sequence, share))
            budget -= share
        return shares

    def _feed(self, request: Request, plan: StepBudget) -> None:
        """Add a request's feeds to the step, if it still runs, there is room, and nothing to wait for."""
        self.planned = request
        room = plan.room(request)
        if room <= 0 or request not in self.running or self._is_awaiting(request, plan):
            return
        shares = self._shares(request, room)
        if not self._make_room(request, shares, plan):
            return
        copies = [] if request in plan.decoding else self._reuse_parts(request, shares)
        if copies:
            shares = self._shares(request, room)
            if not self._make_room(request, shares, plan):
                return
            plan.batch.copies.extend(copies)
        is_ready = all(share == sequence.num_to_feed for sequence, share in shares)
        for sequence, share in shares:
            if not share:
                continue
            copy = self.cache.reserve(sequence, share)
            if copy is not None:
                plan.batch.copies.append(copy)
            if request not in plan.decoding:
                plan.under_way.update(self.cache.filled_by(sequence, share, request.submission.cache_salt))
            plan.batch.feeds.append(feed_of(request, sequence, share, is_ready=is_ready))
        if is_ready:
            plan.batch.ready.append(request)
        if request.started_at is None:
            request.started_at = plan.now
        plan.take(request, sum(share for _, share in shares))

    def _is_awaiting(self, request: Request, plan: StepBudget) -> bool:
        """Whether this step computes for another what the request needs next; what is there already it takes."""
        if request in plan.decoding or not request.reuses_prefixes:
            return False
        self._reuse(request)
        salt = request.submission.cache_salt
        return any(self.cache.next_is_in(plan.under_way, sequence, salt) for sequence in request.fed_sequences)

    def _reuse(self, request: Request) -> None:
        """Give a request the cached blocks that it can go on with."""
        if not request.reuses_prefixes:
            return
        salt = request.submission.cache_salt
        for sequence in request.fed_sequences:
            self._count_matched(request, sequence, self.cache.match_prefix(sequence, salt))

    def _reuse_parts(self, request: Request, shares: Shares) -> list[BlockCopy]:
        """Give a request copies of cached blocks that it shares the beginnings of; the copies to be made."""
        if not request.reuses_prefixes:
            return []
        salt, copies = request.submission.cache_salt, []
        for sequence in (sequence for sequence, share in shares if share):
            start = sequence.num_cached
            copy = self.cache.match_part(sequence, salt)
            if copy is not None:
                copies.append(copy)
                self._count_matched(request, sequence, sequence.num_cached - start)
        return copies

    def _count_matched(self, request: Request, sequence: Sequence, num_tokens: int) -> None:
        if request.sequences[0].num_generated:
            return
        request.num_matched += num_tokens
        if sequence is request.sequences[0]:
            request.num_prompt_matched += num_tokens

    def _free(self, request: Request) -> None:
        """Give up the blocks of a request."""
        self._forget_matched(request)
        for sequence in request.fed_sequences:
            self.cache.free(sequence)

    def _forget_matched(self, request: Request) -> None:
        """What a request found in the cache counts anew until it generates."""
        if not request.sequences or not request.sequences[0].num_generated:
            request.num_matched = request.num_prompt_matched = 0

    def _num_rows(self) -> int:
        return sum(request.config.width for request in self.running)
