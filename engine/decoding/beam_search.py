"""Beam search and beam sampling."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from math import isfinite, isnan
from typing import ClassVar

import numpy as np
import torch

from beamhouse.engine.decoding.beams import (
    READS,
    Candidate,
    Search,
    conclude,
    groups_of,
    log_probabilities,
    num_candidates,
    searches_of,
    start_beams,
)
from beamhouse.engine.decoding.hypotheses import EMPTY, UNREACHABLE, Floats, Hypothesis, Pool, largest_of
from beamhouse.engine.decoding.strategy import Step, Strategy
from beamhouse.engine.link.messages import FinishReason
from beamhouse.engine.logits import multinomial
from beamhouse.engine.logits.bad_rows import fail_bad
from beamhouse.engine.logits.sparse_scores import largest
from beamhouse.engine.state.batch import Advance
from beamhouse.engine.state.request import Request, Row
from beamhouse.schemas.generation.modes import GenerationMode

Pick = Callable[[Request, torch.Tensor, int], torch.Tensor]
"""The places of so many candidates in the totals of all continuations, (K * V,)."""

MayPick = Callable[[float, Pool], bool]
"""Whether candidates can be picked where this is the largest of the totals."""


class BeamSearch(Strategy):
    """The best `num_beams` continuations of all beams go on; those that end compete by length-normalised score.

    Equals `generate()` with `num_beams` above 1. Where `max_length`, a stop string or another criterion ends a
    hypothesis it is finished by itself, as since transformers 4.50.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.BEAM_SEARCH
    reads: ClassVar[frozenset[str]] = READS

    def prepare(self, request: Request) -> None:
        (beams,) = start_beams(request)
        beams.pool.hypotheses = [EMPTY] * beams.pool.size

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        return search(requests, step, _best, _is_number)


class BeamSample(BeamSearch):
    """Beam search whose candidates are drawn without replacement from the softmax of the totals.

    Equals `torch.manual_seed(seed); generate(do_sample=True, num_beams=...)` on a batch of one, as since 4.50: the
    first `num_beams` drawn may end, in the order they were drawn.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.BEAM_SAMPLE
    reads: ClassVar[frozenset[str]] = READS | {"do_sample"}

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        return search(requests, step, _drawn, _is_drawable)


def search(requests: Seq[Request], step: Step, pick: Pick, may_pick: MayPick) -> dict[Request, Advance]:
    """One step of all requests, which all search in the same way."""
    rows, logits, log_probs = log_probabilities(requests, step)
    scores = step.pipeline.process(rows, log_probs)
    searches = searches_of(requests, step, logits, scores)
    for one, (best, candidates) in zip(searches, _picked(searches, pick), strict=True):
        if not may_pick(best, one.beams.pool):
            fail_bad([Row(one.request, one.rows[0])], [True])
            continue
        one.keep()
        is_over = _go_on(one, candidates)
        conclude(one.request, one.advance, groups_of(one.request), is_over=is_over)
    return {one.request: one.advance for one in searches}


def _picked(searches: Seq[Search], pick: Pick) -> list[tuple[float, list[Candidate]]]:
    """The largest total of each search and its candidates, with one transfer."""
    parts: list[torch.Tensor] = []
    for one in searches:
        totals = one.totals().flatten()
        places = pick(one.request, totals, min(num_candidates(one.request, len(one.beams.totals)), len(totals)))
        # Double precision holds totals and places alike.
        parts.append(torch.cat([totals.amax()[None].double(), totals[places].double(), places.double()]))
    packed = torch.cat(parts).tolist()
    found: list[tuple[float, list[Candidate]]] = []
    for one, part in zip(searches, parts, strict=True):
        (best, *told), packed = packed[: len(part)], packed[len(part) :]
        half = len(told) // 2
        found.append((best, one.candidates(told[:half], [int(place) for place in told[half:]])))
    return found


def _best(request: Request, totals: torch.Tensor, size: int) -> torch.Tensor:
    return largest(totals[None], size)[1][0]


def _drawn(request: Request, totals: torch.Tensor, size: int) -> torch.Tensor:
    """A race of all continuations, of which the first `size` are drawn."""
    return multinomial.winners(totals.softmax(-1)[None], [multinomial.Turn(request.generator)], size)[0]


def _is_number(best: float, pool: Pool) -> bool:
    """NaN is the largest of all."""
    return not isnan(best)


def _is_drawable(best: float, pool: Pool) -> bool:
    """A draw needs something finite to be drawn from, or an end that was found before."""
    return isfinite(best) or (best < 0 and pool.num_ended > 0)


def _go_on(one: Search, candidates: list[Candidate]) -> bool:
    """Finish what ends among the first `num_beams` candidates; the best of those that do not end go on.

    Those that end go on too, far behind, where there are too few others. Returns whether the search is over.
    """
    size, pool = len(one.beams.totals), one.beams.pool
    reasons = [one.ends(candidate) for candidate in candidates]
    totals = np.array([candidate.total for candidate in candidates], np.float32)
    _merge(one, candidates, totals, [reason if at < size else None for at, reason in enumerate(reasons)])
    running = totals + _behind([reason is not None for reason in reasons])
    order = largest_of(running, size)
    one.go_on([candidates[place] for place in order])
    one.beams.totals = running[order]
    return all(reason is not None for reason in reasons) or not pool.can_improve(running[order[0]], one.length)


def _merge(one: Search, candidates: Seq[Candidate], totals: Floats, reasons: Seq[FinishReason | None]) -> None:
    """Let the candidates into the pool that have ended; and where it would stay empty others, as the library does."""
    pool = one.beams.pool
    scores = pool.scores(totals, one.length) + _behind([reason is None for reason in reasons])

    def hypothesis(number: int) -> Hypothesis:
        candidate = candidates[number]
        return Hypothesis(candidate.generated_ids, scores[number], one.path(candidate), reasons[number])

    pool.merge(scores, hypothesis)


def _behind(flags: Seq[bool]) -> Floats:
    """What puts the flagged ones behind all others."""
    return np.array(flags, np.float32) * UNREACHABLE
