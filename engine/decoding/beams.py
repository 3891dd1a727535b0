"""What all beam searches share: live beams, candidates, and what may be said while a search goes on."""

from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import torch

from beamhouse.engine.decoding.hypotheses import EMPTY, IMPOSSIBLE, UNREACHABLE, Floats, Path, Pool
from beamhouse.engine.decoding.requested_outputs import Chosen, keeps_rows, token_scores, top_tokens
from beamhouse.engine.decoding.strategy import Step, newest
from beamhouse.engine.link.messages import FinishReason, HypothesisUpdate, Tokens
from beamhouse.engine.logits.bad_rows import why_closed
from beamhouse.engine.logits.constraints.constraint import CONSTRAINT
from beamhouse.engine.logits.sparse_scores import largest
from beamhouse.engine.state.batch import Advance, Choice, KeptRow
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Row, Sequence
from beamhouse.schemas.words import FinishType

READS = frozenset({"num_beams", "num_return_sequences", "early_stopping", "length_penalty", "low_memory"})
"""Beams share the blocks of their beginnings, so `low_memory` has nothing to save and changes nothing."""

LAST = (FinishType.LENGTH, FinishType.TIME)
"""Reasons that end all beams at once, so that each is a hypothesis."""


@dataclass(slots=True)
class Beams:
    """The live beams of one search, or of one group of it. totals: (K,) accumulated log-probabilities.

    paths: of each beam, None before the first token. first_index: number of the first of these rows in the whole
    request. The sequences of the beams are the request's rows, in the same order; before the first token all beams
    are the one prompt row.
    """

    totals: Floats
    paths: list[Path | None]
    pool: Pool
    first_index: int = 0
    is_done: bool = False

    @classmethod
    def start(cls, size: int, pool: Pool, first_index: int = 0) -> "Beams":
        """One beam can be continued; the others only exist so that there are enough of them."""
        totals = np.full(size, UNREACHABLE, np.float32)
        totals[0] = 0
        return cls(totals, [None] * size, pool, first_index)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A continuation of a beam by one token. beam: its number among the `Beams`. total: with that token."""

    parent: Sequence
    beam: int
    token: int
    total: np.float32

    @property
    def generated_ids(self) -> list[int]:
        return [*self.parent.generated_ids, self.token]


@dataclass(slots=True)
class Search:
    """One request in one step of a search. scores: (K, V), processed log-probabilities. rows: a sequence a beam."""

    request: Request
    step: Step
    beams: Beams
    rows: list[Sequence]
    logits: torch.Tensor
    scores: torch.Tensor
    advance: Advance

    @classmethod
    def of(
        cls,
        request: Request,
        step: Step,
        beams: Beams,
        rows: list[Sequence],
        given: tuple[torch.Tensor, torch.Tensor],
        advance: Advance | None = None,
    ) -> "Search":
        """given: logits and scores of the rows, (R, V); the one prompt row stands for all beams. advance: to add to."""
        logits, scores = given
        if len(rows) < len(beams.totals):
            size = len(beams.totals)
            rows, logits, scores = rows * size, logits.expand(size, -1), scores.expand(size, -1)
        return cls(request, step, beams, rows, logits, scores, advance or Advance([]))

    @property
    def length(self) -> int:
        """Generated tokens of every candidate of this step."""
        return self.rows[0].num_generated + 1

    def totals(self) -> torch.Tensor:
        """Accumulated log-probabilities of every continuation. (K, V)"""
        return self.scores + torch.from_numpy(self.beams.totals).to(self.scores.device)[:, None]

    def candidates(self, values: Seq[float], indices: Seq[int]) -> list[Candidate]:
        """From places in the flattened (K, V) totals."""
        vocab_size = self.scores.shape[1]
        return [
            Candidate(self.rows[index // vocab_size], index // vocab_size, index % vocab_size, np.float32(value))
            for value, index in zip(values, indices, strict=True)
        ]

    def best(self, totals: torch.Tensor) -> list[Candidate]:
        """As many of the best continuations as a step looks at, best first. totals: (K, V)"""
        size = min(num_candidates(self.request, len(self.beams.totals)), totals.numel())
        values, places = largest(totals.flatten()[None], size)
        return self.candidates(values[0].tolist(), places[0].tolist())

    def may_improve(self, candidates: Seq[Candidate]) -> bool:
        """Whether candidates, best first, may lead to a hypothesis that comes in, as in transformers 4.x."""
        pool = self.beams.pool
        return not pool.is_full or pool.can_improve(candidates[0].total, self.length)

    def ends(self, candidate: Candidate) -> FinishReason | None:
        """Why a candidate would end, if it would."""
        parent = candidate.parent
        ended = self.step.stopping.check(
            self.request, parent.token_ids, [candidate.token], self.step.now, parent.memory
        )
        return None if ended is None else ended[1]

    def path(self, candidate: Candidate) -> Path:
        """The path of a candidate, with what was asked for about its token."""
        wanted, row = self.request.submission.wanted, slice(candidate.beam, candidate.beam + 1)
        given = Chosen(self.logits[row], self.scores[row], are_logprobs=True)
        return Path(
            self.beams.paths[candidate.beam],
            self.beams.first_index + candidate.beam,
            token_scores(wanted, [candidate.token], given),
            top_tokens(wanted, given),
        )

    def finish(self, candidate: Candidate, reason: FinishReason) -> None:
        """Move a candidate to the hypotheses that have ended."""
        self.beams.pool.add(candidate.total, candidate.generated_ids, self.path(candidate), reason)

    def go_on(self, candidates: list[Candidate]) -> None:
        """Make these the live beams."""
        paths = [self.path(candidate) for candidate in candidates]
        self.beams.totals = np.array([candidate.total for candidate in candidates], np.float32)
        self.beams.paths = list(paths)
        self.advance.choices.extend(Choice(candidate.parent, [candidate.token]) for candidate in candidates)

    def keep(self, scores: torch.Tensor | None = None) -> None:
        """Keep the rows of this step if the request asked for them. scores: in place of the processed ones."""
        if keeps_rows(self.request.config):
            kept = self.scores if scores is None else scores
            self.advance.kept.extend(
                KeptRow(self.length - 1, self.beams.first_index + row, self.logits[row], kept[row])
                for row in range(len(kept))
            )


def conclude(request: Request, advance: Advance, groups: Seq[Beams], *, is_over: bool) -> None:
    """Tell how the search stands, or end it: where it is over, and where no live beam can be a hypothesis any more.

    The request fails where nothing has ended that its constraint allows. Without a constraint the answer is empty then,
    as in the library.
    """
    live = [total for beams in groups if not beams.is_done for total in beams.totals]
    if not is_over and any(total > IMPOSSIBLE for total in live):
        _tell(request, advance, groups)
        return
    advance.choices.clear()
    if request.submission.constraint is not None and not any(beams.pool.num_ended for beams in groups):
        found_nothing = f"{CONSTRAINT}: nothing that it allows was found"
        request.fail(next(filter(None, map(why_closed, request.sequences)), found_nothing))
        return
    _finish(request, advance, groups)


def _tell(request: Request, advance: Advance, groups: Seq[Beams]) -> None:
    """Say what all hypotheses that may be returned agree on, and where asked for how the live ones stand."""
    going_on = [(beams, total) for beams in groups if not beams.is_done for total in beams.totals]
    live = [
        (beams.pool.score(total, choice.parent.num_generated + 1), [*choice.parent.generated_ids, *choice.token_ids])
        for (beams, total), choice in zip(going_on, advance.choices, strict=True)
        if total > IMPOSSIBLE
    ]
    ended = [hypothesis.token_ids for beams in groups for hypothesis in beams.pool.hypotheses if hypothesis.reason]
    agreed = _common_prefix([*(token_ids for _, token_ids in live), *ended], len(request.outputs[0].token_ids))
    num_reached = sum(bool(total > UNREACHABLE / 2) for _, total in going_on)
    for index in range(_num_certain(request, len(ended), num_reached)):
        if len(agreed) > len(request.outputs[index].token_ids):
            advance.gains.append(Tokens(index, agreed[len(request.outputs[index].token_ids) :]))
    if request.submission.wanted.progress:
        ranked = sorted(live, key=lambda pair: -pair[0])
        advance.progress.extend(HypothesisUpdate(token_ids, float(score)) for score, token_ids in ranked)


def _num_certain(request: Request, num_ended: int, num_reached: int) -> int:
    """The sequences for which a hypothesis will be found. Others may stay empty, so that nothing is said of them.

    Under a constraint a live beam may lead nowhere. The first sequence has a hypothesis, or the request fails.
    """
    num_sure = num_ended + (num_reached if request.submission.constraint is None else 0)
    return min(max(1, num_sure), len(request.outputs))


def _finish(request: Request, advance: Advance, groups: Seq[Beams]) -> None:
    """End a request with the best hypotheses of all its groups; among equal ones those of later groups come first."""
    found = (one for beams in reversed(groups) for one in beams.pool.hypotheses)
    ranked = [*sorted(found, key=lambda one: -one.score), *[EMPTY] * len(request.outputs)]
    for index, (output, best) in enumerate(zip(request.outputs, ranked, strict=False)):
        told = len(output.token_ids)
        new = best.token_ids[told:] if best.token_ids[:told] == output.token_ids else []
        reason = best.reason or FinishReason(FinishType.LENGTH)
        advance.gains.append(Tokens(index, new, finish_reason=reason, ranking=best.ranking()))


_GROUPS = Slot[list[Beams]]("groups of beams")


def start_beams(request: Request, num_groups: int = 1) -> list[Beams]:
    """Give a request the beams that it begins with, in groups of one size."""
    size = request.config.num_beams // num_groups
    request.memory[_GROUPS] = [
        Beams.start(size, Pool.of(request.config, size, request.num_prompt), number * size)
        for number in range(num_groups)
    ]
    return groups_of(request)


def groups_of(request: Request) -> list[Beams]:
    """The groups of beams a request keeps between its steps."""
    return request.memory[_GROUPS]


def live_slices(request: Request) -> Iterator[tuple[Beams, list[Sequence]]]:
    """Each group that still searches, and its rows."""
    rows = request.sequences
    is_first = len(rows) == 1 and not rows[0].num_generated
    start = 0
    for beams in groups_of(request):
        if beams.is_done:
            continue
        end = len(rows) if is_first else start + len(beams.totals)
        yield beams, rows[start:end]
        start = 0 if is_first else end


def searches_of(requests: Seq[Request], step: Step, logits: torch.Tensor, scores: torch.Tensor) -> list[Search]:
    """A search for each request, which has one group of beams. logits, scores: of all their rows in order, (R, V)."""
    searches: list[Search] = []
    end = 0
    for request in requests:
        (beams, rows), start = next(live_slices(request)), end
        end += len(rows)
        searches.append(Search.of(request, step, beams, rows, (logits[start:end], scores[start:end])))
    return searches


def log_probabilities(requests: Seq[Request], step: Step) -> tuple[list[Row], torch.Tensor, torch.Tensor]:
    """A row for each live sequence; its logits, and their log-softmax before the processors. Both (R, V)."""
    rows, logits = newest(requests, step)
    return rows, logits, logits.log_softmax(-1)


def num_candidates(request: Request, size: int) -> int:
    """Candidates a step looks at, so that `size` of them go on whatever end tokens are among them."""
    return max(2, 1 + len(request.config.eos_token_ids)) * size


def _common_prefix(lists: Seq[list[int]], start: int) -> list[int]:
    """What all lists begin with. They are known to agree up to place `start`."""
    shortest = min(lists, key=len)
    for place in range(start, len(shortest)):
        if any(one[place] != shortest[place] for one in lists):
            return shortest[:place]
    return shortest
