"""Contrastive search: of the likeliest tokens, the one least like what was said before."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import ClassVar

import torch

from beamhouse.engine.decoding.requested_outputs import Chosen
from beamhouse.engine.decoding.strategy import Scored, Step, Strategy, gain_of, kept_of
from beamhouse.engine.logits.bad_rows import bad_rows, fail_bad
from beamhouse.engine.logits.sparse_scores import largest
from beamhouse.engine.state.batch import Advance, Choice
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Row, Sequence
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.generation.resolved import given


@dataclass(frozen=True, slots=True)
class Recall:
    """What the candidates of a step are and were drawn from.

    probabilities: of each candidate, (k,) float32. logits, scores: (1, V) float32, of the row that they continue.
    """

    probabilities: torch.Tensor
    logits: torch.Tensor
    scores: torch.Tensor


@dataclass(slots=True)
class Context:
    """What a request remembers. states: the normalised hidden state of each known position, with room for more.

    recall: of the candidates that are fed now; None while the prompt is.
    """

    states: torch.Tensor | None = None
    recall: Recall | None = None

    def write(self, start: int, states: torch.Tensor) -> None:
        """Put states (n, d) at positions from `start` on; again for positions that are computed again."""
        end = start + len(states)
        if self.states is None or end > len(self.states):
            grown = torch.empty((max(64, 2 * end), states.shape[-1]), dtype=states.dtype, device=states.device)
            if self.states is not None:
                grown[: len(self.states)] = self.states
            self.states = grown
        self.states[start:end] = states

    def penalties(self, states: torch.Tensor, length: int) -> torch.Tensor:
        """The largest cosine of each candidate's state to those of the first `length` positions. (k, d) to (k,)."""
        assert self.states is not None
        return (self.states[:length] @ states.T).amax(0)


_CONTEXT = Slot[Context]("contrastive search")


class Contrastive(Strategy):
    """Each step looks ahead with the `top_k` likeliest tokens and keeps the one of the best contrast.

    The contrast is (1 - alpha) p - alpha s: p the token's probability, s the largest cosine of its hidden state in the
    last layer to that of any earlier position. Source: arXiv:2202.06417. Equals `generate()` of transformers 4.55 with
    `penalty_alpha`. The candidates are the rows of the request, and the processors see only the row that won.
    Tokens that are ruled out are no candidates, however few are left; the library takes them in with probability 0.
    `low_memory` changes nothing, as in the library: the candidates share the blocks of their beginning anyway.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.CONTRASTIVE_SEARCH
    reads: ClassVar[frozenset[str]] = frozenset({"penalty_alpha", "top_k", "low_memory"})
    feeds_last: ClassVar[bool] = True

    def prepare(self, request: Request) -> None:
        request.read_hidden((-1,), at_every_position=True)
        request.memory[_CONTEXT] = Context()

    def observe(self, request: Request, sequence: Sequence, start: int, hidden: torch.Tensor) -> None:
        if sequence in request.sequences:  # a shadow's states do not count
            request.memory[_CONTEXT].write(start, _normalised(hidden[0]))

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        ranked = [request for request in requests if request.memory[_CONTEXT].recall is not None]
        winners = _winners(ranked, step)
        advances = {request: _won(request, winner, step) for request, winner in winners.items()}
        rows = [
            _row(request, winners.get(request, request.sequences[0]), step)
            for request in requests
            if request.failure is None and not _has_ended(advances.get(request))
        ]
        if rows:
            _look_ahead(rows, advances, step)
        return advances


def _winners(requests: Seq[Request], step: Step) -> dict[Request, Sequence]:
    """The candidate of the best contrast of each request, whose state joins the context; who has none fails."""
    if not requests:
        return {}
    hidden = [step.forward.hidden[sequence][0, -1] for request in requests for sequence in request.sequences]
    states = _normalised(torch.stack(hidden)).split([len(request.sequences) for request in requests])
    places = torch.stack([_best(request, own) for request, own in zip(requests, states, strict=True)]).tolist()
    winners: dict[Request, Sequence] = {}
    for request, place, own in zip(requests, places, states, strict=True):
        if place >= 0:
            winners[request] = request.sequences[place]
            request.memory[_CONTEXT].write(len(winners[request].token_ids) - 1, own[place : place + 1])
    rows = [Row(request, request.sequences[0]) for request in requests]
    fail_bad(rows, [place < 0 for place in places])
    return winners


def _best(request: Request, states: torch.Tensor) -> torch.Tensor:
    """The place of the winner, (), the first on ties; -1 if a contrast is NaN. states: of the candidates, (k, d)."""
    context = request.memory[_CONTEXT]
    alpha = given(request.config.penalty_alpha)
    assert context.recall is not None
    penalties = context.penalties(states, len(request.sequences[0].token_ids) - 1)
    contrast = (1.0 - alpha) * context.recall.probabilities - alpha * penalties  # (k,)
    return contrast.argmax().where(~contrast.amax().isnan(), -1)


def _won(request: Request, winner: Sequence, step: Step) -> Advance:
    """The winner's token becomes final, with the scores it was drawn from. No choices yet."""
    recall = request.memory[_CONTEXT].recall
    assert recall is not None
    choice = Choice(winner, winner.token_ids[-1:], 0)
    ended = step.stopping.check(request, winner.token_ids[:-1], choice.token_ids, step.now, winner.memory)
    gain = gain_of(request, choice, Chosen(recall.logits, recall.scores), None if ended is None else ended[1])
    return Advance([], [gain], list(kept_of(request, choice, Scored([], recall.logits, recall.scores), 0)))


def _has_ended(advance: Advance | None) -> bool:
    return advance is not None and advance.gains[0].finish_reason is not None


def _row(request: Request, sequence: Sequence, step: Step) -> Row:
    shadow = sequence.shadow
    return Row(request, sequence, None if shadow is None else step.forward.last([shadow])[0])


def _look_ahead(rows: Seq[Row], advances: dict[Request, Advance], step: Step) -> None:
    """Let each row go on with its likeliest tokens, to be ranked in the next step."""
    logits = step.forward.last([row.sequence for row in rows])
    scores = step.pipeline.process(rows, logits)
    probabilities = scores.softmax(-1)  # (R, V)
    is_allowed = scores > torch.finfo(scores.dtype).min
    ranked = probabilities.where(is_allowed, -1.0)
    best = [largest(ranked[at : at + 1], row.request.config.top_k) for at, row in enumerate(rows)]
    num_allowed = is_allowed.sum(-1).masked_fill(bad_rows(scores, for_sampling=True), 0)
    packed = torch.cat([num_allowed, *(places[0] for _, places in best)]).tolist()  # one transfer
    counts, end = packed[: len(rows)], len(rows)
    fail_bad(rows, [count == 0 for count in counts])
    for at, (row, (values, _)) in enumerate(zip(rows, best, strict=True)):
        start, end = end, end + values.shape[1]
        if row.request.failure is not None:
            continue
        candidates = packed[start:end][: counts[at]]
        advance = advances.setdefault(row.request, Advance([]))
        advance.choices.extend(Choice(row.sequence, [token], 0) for token in candidates)
        row.request.memory[_CONTEXT].recall = Recall(
            values[0, : len(candidates)], logits[at : at + 1], scores[at : at + 1]
        )
        # The context is whole and is kept from here on: what is fed again later need not be observed again.
        row.request.read_hidden((-1,))


def _normalised(states: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = states.norm(dim=-1, keepdim=True)
    return states / lengths
