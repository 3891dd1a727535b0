"""One step while it is put together: who is fed, and how much room is left for whom."""

import math
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

from beamhouse.engine.loop.prefill_pace import Pace
from beamhouse.engine.state.batch import Batch, Feed
from beamhouse.engine.state.request import Request, Sequence


@dataclass(frozen=True, slots=True)
class StepLimits:
    """max_rows: sequences in one step. step_tokens: tokens in one step, at least `max_rows`. max_waiting: requests.

    max_stretch: how many times as long as without prompts a step may take while requests decode.
    """

    max_rows: int
    step_tokens: int
    max_waiting: int
    max_stretch: float = math.inf


@dataclass(slots=True)
class StepBudget:
    """How many tokens a step may still feed, and what it feeds: chunked prefill beside requests that decode.

    now: when it was planned. step_tokens: the most tokens of a step. left: those that are not given away yet.
    prompt_left: the most of them that prompts may get. long_left: the most that prompts may get which are longer than a
    whole step. decoding: the requests that lack only their newest tokens; num_decoded: those tokens, drafts included.
    num_prompt: tokens of prompts that the step feeds. fed: the requests that stand in it. under_way: digests of the
    blocks of prompts that it fills, or begins to.
    """

    now: float
    step_tokens: int
    decoding: frozenset[Request] = frozenset()
    num_decoded: int = 0
    left: int = 0
    prompt_left: int = 0
    long_left: int = 0
    num_prompt: int = 0
    fed: set[Request] = field(default_factory=set)
    under_way: set[bytes] = field(default_factory=set)
    batch: Batch = field(default_factory=lambda: Batch([], []))

    def room(self, request: Request) -> int:
        if request in self.decoding:
            return self.left
        return min(self.left, self.prompt_left, self.long_left if self.is_long(request) else self.left)

    def take(self, request: Request, num_tokens: int) -> None:
        self.fed.add(request)
        self.left -= num_tokens
        if request not in self.decoding:
            self.num_prompt += num_tokens
            self.prompt_left -= num_tokens
            self.long_left -= num_tokens if self.is_long(request) else 0

    def is_long(self, request: Request) -> bool:
        return num_to_start(request) > self.step_tokens


def begin(running: Seq[Request], following: Seq[Request], limits: StepLimits, pace: Pace, now: float) -> StepBudget:
    """A step that feeds nothing yet. running: the oldest first. following: those that wait and have rows in this step.

    Beside requests that decode, prompts get what the pace allows, and only short ones the part of it that these add.
    Alone they get everything, of which a long one leaves half to short ones.
    """
    decoding = frozenset(request for request in running if request.is_decoding)
    starting = [request for request in running if request not in decoding]
    plan = StepBudget(now, limits.step_tokens, decoding, sum(map(num_to_feed, decoding)), limits.step_tokens)
    short = [request for request in (*starting, *following) if not plan.is_long(request)]
    room = plan.left - plan.num_decoded
    if not decoding:
        plan.prompt_left, plan.long_left = room, max(room // 2, room - sum(map(num_to_feed, short)))
    elif starting or following:
        gain = sum(plan.left / num_to_start(request) for request in short) / len(decoding)
        plan.long_left = pace.chunk(plan.num_decoded, 0.0, room)
        plan.prompt_left = pace.chunk(plan.num_decoded, gain, room)
        if plan.prompt_left:
            # The last part of a prompt cannot be divided, however wide the request or long the draft.
            least = num_to_complete([*starting, *following][0])
            plan.prompt_left, plan.long_left = max(plan.prompt_left, least), max(plan.long_left, least)
    return plan


def num_to_feed(request: Request) -> int:
    """Tokens that it lacks now, drafts included."""
    return sum(sequence.num_to_feed for sequence in request.fed_sequences)


def num_to_start(request: Request) -> int:
    """Tokens that it is fed until it decodes, those included that it has been fed."""
    return sum(len(sequence.token_ids) for sequence in request.fed_sequences) - request.num_matched


def num_to_complete(request: Request) -> int:
    """Tokens of the step that completes it: the newest of each sequence, and the drafts."""
    return sum(1 + len(sequence.draft_ids) for sequence in request.fed_sequences)


def feed_of(request: Request, sequence: Sequence, share: int, *, is_ready: bool) -> Feed:
    """The next `share` tokens of a sequence. is_ready: whether its request advances in this step."""
    known = sequence.token_ids + sequence.draft_ids if sequence.draft_ids else sequence.token_ids
    num_logits = 1 + len(sequence.draft_ids) if is_ready else 0
    if request.submission.wanted.reads_prompt and sequence.num_cached < request.num_prompt:
        num_logits = share
    return Feed(
        sequence,
        known[sequence.num_cached : sequence.num_cached + share],
        num_logits,
        request.layers,
        share if request.reads_every_position else int(is_ready) if request.layers else 0,
    )
