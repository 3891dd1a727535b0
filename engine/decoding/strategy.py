"""What a decoding mode is to the step loop, and what all modes do alike."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch

from beamhouse.engine.decoding.requested_outputs import Chosen, keeps_rows, token_scores, top_tokens
from beamhouse.engine.decoding.stopping import Stopping
from beamhouse.engine.link.messages import FinishReason, Tokens
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.state.batch import Advance, Choice, Forward, KeptRow
from beamhouse.engine.state.request import Request, Row, Sequence
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.words import FinishType


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a mode may know of the model. has_tied_embeddings: whether its head is its embedding."""

    num_layers: int
    has_tied_embeddings: bool


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
    rows, logits = newest(requests, step)
    return Scored(rows, logits, step.pipeline.process(rows, logits))


def newest(requests: Seq[Request], step: Step) -> tuple[list[Row], torch.Tensor]:
    """A row for each live sequence, in order, and the logits behind its newest token, (R, V) float32."""
    rows = [row for request in requests for row in newest_rows(request, step.forward)]
    return rows, step.forward.last([row.sequence for row in rows])


def newest_rows(request: Request, forward: Forward) -> Iterator[Row]:
    """The newest position of each live sequence."""
    for sequence in request.sequences:
        shadow = sequence.shadow
        yield Row(request, sequence, None if shadow is None else forward.logits[forward.spans[shadow][-1]])


def advanced(request: Request, picked: Seq[tuple[int, Choice]], given: Scored, step: Step) -> Advance:
    """Go on with the rows that do not end, for modes in which each row is a returned sequence.

    picked: how each may go on, and which row of `given` its first token was chosen from; further tokens were chosen
    from the rows behind. Tokens behind the one that ends a sequence are left out.
    """
    advance = Advance([])
    for at, choice in picked:
        known, memory = choice.parent.token_ids, choice.parent.memory
        ended, reason = step.stopping.check(request, known, choice.token_ids, step.now, memory), None
        if ended is None:
            advance.choices.append(choice)
        else:
            size, reason = ended
            choice = replace(choice, token_ids=choice.token_ids[:size])
        rows = slice(at, at + len(choice.token_ids))
        advance.gains.append(gain_of(request, choice, Chosen(given.logits[rows], given.scores[rows]), reason))
        advance.kept.extend(kept_of(request, choice, given, at))
    return advance


def ended(request: Request) -> Advance:
    """The end of a request that only reads its prompt."""
    reason = FinishReason(FinishType.LENGTH)
    return Advance([], [Tokens(index, finish_reason=reason) for index in range(len(request.outputs))])


def gain_of(request: Request, choice: Choice, given: Chosen, reason: FinishReason | None) -> Tokens:
    """The tokens that stay of a row, with what was asked for about them. given: what each was chosen from."""
    wanted, token_ids = request.submission.wanted, choice.token_ids
    return Tokens(
        choice.number,
        token_ids,
        token_scores(wanted, token_ids, given),
        top_tokens(wanted, given),
        reason,
    )


def kept_of(request: Request, choice: Choice, given: Scored, at: int) -> Iterator[KeptRow]:
    """The rows of scores that its tokens were chosen from, from `at` on, if the request asked for them."""
    if keeps_rows(request.config):
        first = len(request.outputs[choice.number].token_ids)
        for place in range(len(choice.token_ids)):
            yield KeptRow(first + place, choice.number, given.logits[at + place], given.scores[at + place])
