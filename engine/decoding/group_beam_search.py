"""Diverse beam search: groups of beams that choose one after another, each kept away from what earlier ones took."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from beamhouse.engine.decoding.beams import (
    LAST,
    READS,
    Beams,
    Candidate,
    Search,
    conclude,
    groups_of,
    live_slices,
    log_probabilities,
    start_beams,
)
from beamhouse.engine.decoding.strategy import Step, Strategy
from beamhouse.engine.link.messages import FinishReason
from beamhouse.engine.logits.bad_rows import bad_rows, fail_bad
from beamhouse.engine.state.batch import Advance
from beamhouse.engine.state.request import Request, Row, Sequence
from beamhouse.schemas.generation.modes import GenerationMode


class GroupBeamSearch(Strategy):
    """Each group is a beam search of `num_beams` / `num_beam_groups` beams; the best hypotheses of all are returned.

    Source: arXiv:1610.02424. Equals `generate()` with `num_beam_groups` above 1 of transformers 4.45 to 4.56, but for
    what 5.x changed in beam search: the end token of a hypothesis is the one that was generated, a stop string or a
    registered criterion ends one hypothesis and not the search. And `beam_indices` count the rows of all groups.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.GROUP_BEAM_SEARCH
    reads: ClassVar[frozenset[str]] = READS | {"num_beam_groups", "diversity_penalty", "pad_token_id"}

    def prepare(self, request: Request) -> None:
        start_beams(request, request.config.num_beam_groups)

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        groups = GroupsStep.of(requests, step)
        for number in range(max(len(groups_of(request)) for request in requests)):
            groups.search([one for one in requests if number < len(groups_of(one))], number)
        for request in [request for request in requests if request.failure is None]:
            is_over = all(beams.is_done for beams in groups_of(request))
            conclude(request, groups.advances[request], groups_of(request), is_over=is_over)
        return groups.advances


@dataclass(slots=True)
class GroupsStep:
    """One step of several requests, group by group. rows: by sequence, with their places in the two tensors (R, V).

    taken: the tokens that the groups so far go on with.
    """

    step: Step
    rows: dict[Sequence, tuple[int, Row]]
    logits: torch.Tensor
    log_probs: torch.Tensor
    slices: dict[Request, dict[int, list[Sequence]]]
    advances: dict[Request, Advance]
    taken: dict[Request, list[int]]

    @classmethod
    def of(cls, requests: Seq[Request], step: Step) -> "GroupsStep":
        rows, logits, log_probs = log_probabilities(requests, step)
        return cls(
            step,
            {row.sequence: (place, row) for place, row in enumerate(rows)},
            logits,
            log_probs,
            {one: {beams.first_index: found for beams, found in live_slices(one)} for one in requests},
            {one: Advance([]) for one in requests},
            {one: [] for one in requests},
        )

    def search(self, requests: Seq[Request], number: int) -> None:
        """Let the group of this number choose, for all requests at once."""
        rows: list[Row] = []
        spans: list[tuple[Request, Beams, list[Sequence], slice]] = []
        for request in requests:
            beams = groups_of(request)[number]
            if beams.is_done:
                self.taken[request] += [_pad(request)] * len(beams.totals)
            elif request.failure is None:
                sequences = self.slices[request][beams.first_index]
                spans.append((request, beams, sequences, slice(len(rows), len(rows) + len(sequences))))
                rows += [replace(self.rows[one][1], taken=tuple(self.taken[request])) for one in sequences]
        if not rows:
            return
        at = torch.tensor([self.rows[row.sequence][0] for row in rows], device=self.logits.device)
        scores = self.step.pipeline.process(rows, self.log_probs.index_select(0, at))
        fail_bad(rows, bad_rows(scores, for_sampling=False).tolist())
        for request, beams, sequences, span in spans:
            if request.failure is None:
                first = self.rows[sequences[0]][0]
                given = self.logits[first : first + len(sequences)], scores[span]
                one = Search.of(request, self.step, beams, sequences, given, self.advances[request])
                one.keep()
                self.taken[request] += walk(one)


def walk(one: Search) -> list[int]:
    """One step of a group; the tokens its beams go on with.

    An end among the first candidates makes a hypothesis, one further down is passed over; the others fill the beams.
    """
    size, beams = len(one.beams.totals), one.beams
    candidates = one.best(one.totals())
    going_on: list[Candidate] = []
    last: FinishReason | None = None
    for rank, candidate in enumerate(candidates):
        reason = one.ends(candidate)
        if reason is None or reason.type in LAST:
            going_on.append(candidate)
            last = reason
        elif rank < size:
            one.finish(candidate, reason)
        if len(going_on) == size:
            break
    beams.is_done = not going_on or not one.may_improve(candidates)
    if last is not None and not beams.is_done:
        for candidate in going_on:
            one.finish(candidate, last)
        beams.is_done = True
    if not beams.is_done:
        one.go_on(going_on)
    return [candidate.token for candidate in going_on]


def _pad(request: Request) -> int:
    """What the beams of a group that is done go on with, which counts as taken by later groups, as in the library."""
    pad = request.config.pad_token_id
    return pad if pad is not None else next(iter(request.config.eos_token_ids), 0)
