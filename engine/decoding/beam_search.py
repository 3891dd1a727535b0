"""Beam search and beam sampling."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from typing import ClassVar

import numpy as np
import torch

from engine.batch import Outcome
from engine.decoding import race
from engine.decoding.beams import Beams, Candidate, Search, finish, groups_of, num_candidates, searches_of, tell
from engine.decoding.hypotheses import Pool
from engine.decoding.strategy import Step, Strategy, failures, live
from engine.logits.guard import bad_rows
from engine.logits.survivors import largest
from engine.request import Request, Row
from schemas.generation import GenerationMode

Pick = Callable[[Request, torch.Tensor, int], torch.Tensor]
"""The places of so many candidates in the totals of all continuations, (K * V,)."""

READS = frozenset({"num_beams", "num_return_sequences", "early_stopping", "length_penalty", "low_memory"})
"""Beams share the blocks of their beginnings, so `low_memory` has nothing to save and changes nothing."""


class BeamSearch(Strategy):
    """The best `num_beams` continuations of all beams go on; those that end compete by length-normalised score.

    Equals `generate()` with `num_beams` above 1. Where `max_length`, a stop string or another criterion ends a
    hypothesis it is finished by itself, as since transformers 4.50.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.BEAM_SEARCH
    reads: ClassVar[frozenset[str]] = READS

    def prepare(self, request: Request) -> None:
        size = request.config.num_beams or 1
        request.state = [Beams.start(size, Pool.of(request.config, size, request.num_prompt))]

    def advance(self, requests: Seq[Request], step: Step) -> Outcome:
        return search(requests, step, _best)


class BeamSample(BeamSearch):
    """Beam search whose candidates are drawn without replacement from the softmax of the totals.

    Equals `torch.manual_seed(seed); generate(do_sample=True, num_beams=...)` on a batch of one, as since 4.50: the
    first `num_beams` drawn may end, in the order they were drawn.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.BEAM_SAMPLE
    reads: ClassVar[frozenset[str]] = READS | {"do_sample"}

    def advance(self, requests: Seq[Request], step: Step) -> Outcome:
        return search(requests, step, _drawn)


def log_probabilities(requests: Seq[Request], step: Step) -> tuple[list[Row], torch.Tensor, torch.Tensor]:
    """A row for each live sequence; its logits, and their log-softmax before the processors. Both (R, V)."""
    rows, logits = live(requests, step)
    return rows, logits, logits.log_softmax(-1)


def search(requests: Seq[Request], step: Step, pick: Pick) -> Outcome:
    """One step of all requests, which all search in the same way."""
    rows, logits, log_probs = log_probabilities(requests, step)
    scores = step.pipeline.process(rows, log_probs)
    searches = searches_of(requests, step, logits, scores)
    failed: dict[Request, str] = {}
    for one, candidates in zip(searches, _picked(searches, pick), strict=True):
        if candidates is None:
            failed |= failures([Row(one.request, one.rows[0])], [True])
            continue
        one.keep()
        _go_on(one, candidates)
    return Outcome({one.request: one.advance for one in searches if one.request not in failed}, failed)


def _picked(searches: Seq[Search], pick: Pick) -> list[list[Candidate] | None]:
    """The candidates of each search, None where nothing can be chosen from its scores; with one transfer."""
    parts: list[torch.Tensor] = []
    for one in searches:
        totals = one.totals().flatten()
        places = pick(one.request, totals, min(num_candidates(one.request, len(one.beams.totals)), len(totals)))
        # NaN is the largest of all; a draw also needs something finite to be drawn from.
        is_bad = bad_rows(totals[None], for_sampling=pick is _drawn)
        # Double precision holds totals and places alike.
        parts.append(torch.cat([is_bad.double(), totals[places].double(), places.double()]))
    packed = torch.cat(parts).tolist()
    found: list[list[Candidate] | None] = []
    for one, part in zip(searches, parts, strict=True):
        (is_bad, *told), packed = packed[: len(part)], packed[len(part) :]
        half = len(told) // 2
        found.append(None if is_bad else one.candidates(told[:half], [int(place) for place in told[half:]]))
    return found


def _best(request: Request, totals: torch.Tensor, size: int) -> torch.Tensor:
    return largest(totals[None], size)[1][0]


def _drawn(request: Request, totals: torch.Tensor, size: int) -> torch.Tensor:
    """A race of all continuations, of which the first `size` are drawn."""
    return race.winners(totals.softmax(-1)[None], [race.Turn(request.generator)], size)[0]


def _go_on(one: Search, candidates: list[Candidate]) -> None:
    """Finish what ends among the first `num_beams` candidates; the best of those that do not end go on."""
    size, pool = len(one.beams.totals), one.beams.pool
    reasons = [one.ends(candidate) for candidate in candidates]
    for candidate, reason in zip(candidates[:size], reasons, strict=False):
        if reason is not None:
            one.finish(candidate, reason)
    handicap = np.array([0 if reason is None else -1e9 for reason in reasons], np.float32)
    running = np.array([candidate.total for candidate in candidates], np.float32) + handicap
    order = np.argsort(-running, kind="stable")[:size]
    one.go_on([candidates[place] for place in order])
    one.beams.totals = running[order]
    is_over = all(reason is not None for reason in reasons) or not pool.can_improve(running[order[0]], one.length)
    (finish if is_over else tell)(one.request, one.advance, groups_of(one.request))
