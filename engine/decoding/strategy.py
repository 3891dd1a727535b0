"""What a decoding mode is to the step loop, and what all modes do alike."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from beamhouse.engine.decoding.requested_outputs import keeps_rows, token_scores, top_tokens
from beamhouse.engine.decoding.stopping import Stopping
from beamhouse.engine.link.messages import FinishReason
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.state.batch import Advance, Choice, Forward, Gain, KeptRow
from beamhouse.engine.state.request import Request, Row, Sequence
from beamhouse.schemas.generation.config import GenerationMode


@dataclass(frozen=True, slots=True)
class Step:
    """What a strategy may use to choose. project: hidden states (n, d) to logits (n, V) float32, as the model's head.

    now: `time.monotonic()` seconds.
    """

    forward: Forward
    pipeline: Pipeline
    stopping: Stopping
    project: Callable[[torch.Tensor], torch.Tensor]
    now: float


class Strategy(Protocol):
    """A decoding mode. It keeps nothing between steps; what must last stands on the requests and their sequences.

    reads: the GenerationConfig fields it obeys, beside those of the processors and stopping criteria. feeds_last: if a
    sequence's last token is fed too, as candidates are before they are chosen.
    """

    mode: ClassVar[GenerationMode]
    reads: ClassVar[frozenset[str]]
    feeds_last: ClassVar[bool] = False

    def prepare(self, request: Request) -> None:
        """Set what a new request needs: its state, and the hidden states it reads. Raises InvalidRequest."""
        return

    def propose(self, requests: Seq[Request], pipeline: Pipeline) -> None:
        """Give requests that are about to be fed the drafts they lack. Called before every step; mostly idle."""
        return

    def release(self, request: Request) -> None:
        """Free what the mode holds for a request that has ended, beside its sequences."""
        return

    def observe(self, request: Request, sequence: Sequence, start: int, hidden: torch.Tensor) -> None:
        """Take hidden states of fed positions from `start` on, (layers, n, d), where `reads_every_position` is set."""
        return

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        """Choose the rows of the next step for all requests of this mode at once.

        One that cannot go on is told to `fail`, and needs no advance: the step loop ends it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """Rows and what they were chosen from. logits, scores: (R, V) float32, before and after the processors."""

    rows: list[Row]
    logits: torch.Tensor
    scores: torch.Tensor


def scored(requests: Seq[Request], step: Step) -> Scored:
    """A row for each live sequence, in order."""
    rows, logits = live(requests, step)
    return Scored(rows, logits, step.pipeline.process(rows, logits))


def live(requests: Seq[Request], step: Step) -> tuple[list[Row], torch.Tensor]:
    """A row for each live sequence, in order, and the logits behind its newest token, (R, V) float32."""
    rows = [row for request in requests for row in live_rows(request, step.forward)]
    return rows, step.forward.last([row.sequence for row in rows])


def live_rows(request: Request, forward: Forward) -> Iterator[Row]:
    """The newest position of each live sequence."""
    for sequence in request.sequences:
        shadow = sequence.shadow
        yield Row(request, sequence, None if shadow is None else forward.logits[forward.spans[shadow][-1]])


@dataclass(slots=True)
class Grown:
    """What one row adds to a returned sequence. given: what its tokens were chosen from, row by row from `at` on."""

    sequence: Sequence
    index: int
    token_ids: list[int]
    given: Scored
    at: int


def advanced(request: Request, grown: Seq[Grown], step: Step) -> Advance:
    """Go on with the rows that do not end, for modes in which each row is a returned sequence.

    Tokens behind the one that ends a sequence are left out.
    """
    advance = Advance([])
    for row in grown:
        token_ids = row.token_ids
        ended = step.stopping.check(request, row.sequence.token_ids, token_ids, step.now, row.sequence.memory)
        if ended is None:
            advance.choices.append(Choice(row.sequence, token_ids, row.index))
        else:
            token_ids = token_ids[: ended[0]]
        advance.gains.append(gain_of(request, row, token_ids, None if ended is None else ended[1]))
        advance.kept.extend(kept_of(request, row, len(token_ids)))
    return advance


def gain_of(request: Request, row: Grown, token_ids: list[int], reason: FinishReason | None) -> Gain:
    """The tokens that stay of a row, with what was asked for about them."""
    wanted, scores = request.submission.wanted, row.given.scores[row.at : row.at + len(token_ids)]
    return Gain(
        row.index,
        token_ids,
        token_scores(wanted, token_ids, scores, are_logprobs=False),
        top_tokens(wanted, scores),
        reason,
    )


def kept_of(request: Request, row: Grown, num_tokens: int) -> Iterator[KeptRow]:
    """The rows of scores of the first `num_tokens` tokens, if the request asked for them."""
    if keeps_rows(request.config):
        first = len(request.outputs[row.index].token_ids)
        for place in range(num_tokens):
            at = row.at + place
            yield KeptRow(first + place, row.index, row.given.logits[at], row.given.scores[at])
