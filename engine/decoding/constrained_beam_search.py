"""Beam search whose hypotheses must hold given phrases."""

from collections.abc import Sequence as Seq
from typing import ClassVar

import numpy as np
import torch

from beamhouse.engine.decoding.beams import (
    LAST,
    READS,
    Candidate,
    Search,
    conclude,
    groups_of,
    log_probabilities,
    searches_of,
    start_beams,
)
from beamhouse.engine.decoding.constraint_progress import ConstraintProgress, demands_of
from beamhouse.engine.decoding.strategy import Step, Strategy
from beamhouse.engine.link.messages import FinishReason
from beamhouse.engine.logits.bad_rows import bad_rows, fail_bad
from beamhouse.engine.state.batch import Advance
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Sequence
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.words import FinishType

_PROGRESS = Slot[tuple[int, ConstraintProgress]]("progress through phrases")
"""Where a sequence stood after so many of its tokens."""
_BANK_WEIGHT = 100.0


class ConstrainedBeamSearch(Strategy):
    """Beam search that also tries the tokens its phrases need, and keeps beams of every degree of progress.

    Source: arXiv:1704.07138, in the form of banks of arXiv:1804.06609. Equals `generate()` with `force_words_ids` or
    `constraints` of transformers 4.45 to 4.56: a phrase in the prompt counts, and where too few hypotheses hold all
    phrases at the end, others come too. The scores kept for the answer are running totals as there, transition scores
    are not. The end token is the one that was generated; a stop string or registered criterion ends one hypothesis.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.CONSTRAINED_BEAM_SEARCH
    reads: ClassVar[frozenset[str]] = READS | {"constraints", "force_words_ids"}

    def prepare(self, request: Request) -> None:
        start_beams(request)
        request.sequences[0].memory[_PROGRESS] = 0, ConstraintProgress.start(demands_of(request.config))

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        rows, logits, log_probs = log_probabilities(requests, step)
        scores = step.pipeline.process(rows, log_probs)
        fail_bad(rows, bad_rows(scores, for_sampling=False).tolist())
        searches = [one for one in searches_of(requests, step, logits, scores) if one.request.failure is None]
        for one in searches:
            search_constrained(one)
            conclude(one.request, one.advance, groups_of(one.request), is_over=one.beams.is_done)
        return {one.request: one.advance for one in searches}


def progress_of(sequence: Sequence) -> ConstraintProgress:
    """Where a sequence stands after all its tokens. Its memory holds a place on the way, from an earlier step."""
    num_known, progress = sequence.memory[_PROGRESS]
    if num_known < len(sequence.token_ids):
        progress = progress.after_all(sequence.token_ids[num_known:])
        sequence.memory[_PROGRESS] = len(sequence.token_ids), progress
    return progress


def after(candidate: Candidate) -> ConstraintProgress:
    """Where a candidate would stand."""
    return progress_of(candidate.parent).after(candidate.token)


def search_constrained(one: Search) -> None:
    """One step of one request."""
    totals, beams, size = one.totals(), one.beams, len(one.beams.totals)
    one.keep(totals)
    candidates = one.best(totals)
    going_on = going_on_of(one, candidates, size)
    extra = advancing(one, totals, going_on)
    if extra:
        going_on = in_turns([*going_on, *extra])[:size]
    beams.is_done = not going_on or not one.may_improve(candidates)
    reasons = [one.ends(candidate) for candidate in going_on]
    if not beams.is_done and any(reason is not None and reason.type in LAST for reason in reasons):
        end_all(one, going_on)
    if not beams.is_done:
        one.go_on(going_on)


def going_on_of(one: Search, candidates: Seq[Candidate], size: int) -> list[Candidate]:
    """The best candidates that do not end. An end makes a hypothesis where all phrases are there."""
    going_on: list[Candidate] = []
    for rank, candidate in enumerate(candidates):
        reason = one.ends(candidate)
        if reason is None or reason.type in LAST:
            going_on.append(candidate)
            if len(going_on) == size:
                break
        elif rank < size and _may_end(candidate, reason):
            one.finish(candidate, reason)
    return going_on


def _may_end(candidate: Candidate, reason: FinishReason) -> bool:
    """Whether all phrases are there; an end token is none of them."""
    return (after(candidate) if reason.token_id is None else progress_of(candidate.parent)).is_complete


def advancing(one: Search, totals: torch.Tensor, going_on: Seq[Candidate]) -> list[Candidate]:
    """The continuations that make progress and are not among those that go on already, each sequence once.

    Of those that lead to one bank no more than there are beams can be chosen, so only the best of them are made, unless
    each has to be asked whether it ends by itself.
    """
    # A sequence is named by the first beam that holds its beginning: there may be too many to write them all out.
    names: dict[tuple[int, ...], int] = {}
    begun = [names.setdefault(tuple(row.generated_ids), beam) for beam, row in enumerate(one.rows)]
    known: dict[int, list[int]] = {}
    for candidate in going_on:
        known.setdefault(begun[candidate.beam], []).append(candidate.token)
    groups = [
        (beam, token_ids[~np.isin(token_ids, known.get(beam, []))])
        for beam, row in enumerate(one.rows)
        if begun[beam] == beam
        for token_ids in progress_of(row).next_by_bank
    ]
    if not groups:
        return []
    places = torch.from_numpy(np.concatenate([beam * totals.shape[1] + token_ids for beam, token_ids in groups]))
    values = totals.flatten()[places.to(totals.device)].cpu().numpy()
    may_end = bool(one.request.config.stop_strings or one.request.submission.stopping_criteria)
    found: list[Candidate] = []
    for beam, token_ids in groups:
        own, values = values[: len(token_ids)], values[len(token_ids) :]
        best = range(len(own)) if may_end else np.sort(np.argsort(-own, kind="stable")[: len(one.rows)]).tolist()
        found += [Candidate(one.rows[beam], beam, int(token_ids[at]), np.float32(own[at])) for at in best]
    return [candidate for candidate in found if not ends_by_itself(one, candidate)]


def ends_by_itself(one: Search, candidate: Candidate) -> bool:
    """Whether a stop string or criterion ends a continuation; it is a hypothesis where all phrases are there.

    An end token inside a phrase does not end it, as in the library.
    """
    reason = one.ends(candidate)
    if reason is None or reason.type in LAST or reason.token_id is not None:
        return False
    if after(candidate).is_complete:
        one.finish(candidate, reason)
    return True


def in_turns(candidates: list[Candidate]) -> list[Candidate]:
    """The best of each bank, those with most progress first; then the second of each bank, and so on."""
    banks = [progress_of(candidate.parent).bank_after(candidate.token) for candidate in candidates]
    keys = np.array(banks, np.float32) * _BANK_WEIGHT + np.array([one.total for one in candidates], np.float32)
    turns: list[tuple[int, int]] = []
    counts: dict[int, int] = {}
    for place in np.argsort(-keys, kind="stable").tolist():
        turns.append((counts.setdefault(banks[place], 0), place))
        counts[banks[place]] += 1
    return [candidates[place] for _, place in sorted(turns, key=lambda turn: turn[0])]


def end_all(one: Search, candidates: list[Candidate]) -> None:
    """End the search with all beams: those that hold all phrases, then others if these are too few."""
    complete = [candidate for candidate in candidates if after(candidate).is_complete]
    is_enough = len(complete) >= len(one.request.outputs)
    others = [] if is_enough else [candidate for candidate in candidates if candidate not in complete]
    for candidate in [*complete, *others]:
        one.finish(candidate, one.ends(candidate) or FinishReason(FinishType.LENGTH))
    one.beams.is_done = True
