"""What proposes tokens for the main model to check, and what a request remembers of it."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Protocol

import torch

from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request


@dataclass(frozen=True, slots=True)
class Draft:
    """Proposed tokens. probabilities: (n, V), what each was drawn from, where the drafter knows it.

    num_proposed: how many the drafter found before the draft was cut to the room that is left; the library draws random
    numbers for all of them.
    """

    token_ids: list[int] = field(default_factory=list)
    probabilities: torch.Tensor | None = None
    num_proposed: int = 0


@dataclass(slots=True)
class Drafting:
    """The state of an assisted request.

    num_tokens: most tokens of the next draft, by its schedule. max_tokens: what one step can check. draft: the newest
    one, made when the sequence had `drafted_at` tokens. translated, num_translated: the draft model's tokens for the
    first so many of the sequence, where its tokenizer is another.
    """

    drafter: "Drafter"
    num_tokens: int
    max_tokens: int
    draft: Draft = field(default_factory=Draft)
    drafted_at: int = -1
    translated: list[int] = field(default_factory=list)
    num_translated: int = 0


DRAFTING = Slot[Drafting]("drafting")


class Drafter(Protocol):
    """A way to propose tokens."""

    def check(self, request: Request) -> None:
        """Raises InvalidRequest where this request cannot be drafted for, as far as only this one knows."""
        return

    def draft(self, requests: Seq[Request], pipeline: Pipeline) -> dict[Request, Draft]:
        """A draft for each request that gets one; there is room for at least one token."""
        ...

    def release(self, request: Request) -> None:
        """Free what is held for a request that has ended."""
        ...


def drafting_of(request: Request) -> Drafting:
    return request.memory[DRAFTING]


def room_of(request: Request) -> int:
    """Most tokens that may be proposed now: what is left of the sequence, and what one step can check."""
    return min(_left_of(request), drafting_of(request).max_tokens)


def _left_of(request: Request) -> int:
    """Tokens before the end of the sequence: the check itself gives one more.

    A draft ends where a sequence is computed anew, since no pass could check tokens on both sides.
    """
    sequence = request.sequences[0]
    num_tokens, end = len(sequence.token_ids), request.config.max_length
    return (min(end, sequence.renewed_at) if num_tokens < sequence.renewed_at else end) - num_tokens - 1


def draft_limit(request: Request) -> int:
    """Most tokens of the next draft, by its schedule and the room that is left.

    Where only the size of a step keeps it shorter than the library's, other random numbers are drawn: that is told.
    """
    state = drafting_of(request)
    wanted = min(state.num_tokens, _left_of(request))
    if wanted > state.max_tokens and request.config.do_sample:
        request.warn(
            f"a draft was to have {wanted} tokens and was cut to {state.max_tokens}, since a step of this server holds "
            "no more (step_tokens); the tokens drawn from there on may differ from those of generate()"
        )
    return min(wanted, state.max_tokens)
