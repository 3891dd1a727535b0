"""Assisted (speculative) decoding: drafted tokens are checked in the shared step; those the model confirms stay."""

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import ClassVar

from beamhouse.engine.decoding.drafting.drafter import DRAFTING, Draft, Drafter, Drafting, drafting_of, room_of
from beamhouse.engine.decoding.drafting.lookup import PromptLookup
from beamhouse.engine.decoding.strategy import Scored, Step, Strategy, advanced
from beamhouse.engine.decoding.verification import Check, Verdict, verify
from beamhouse.engine.link.errors import invalid
from beamhouse.engine.logits.bad_rows import fail_bad
from beamhouse.engine.logits.constraints.constraint import is_complete
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.state.batch import Advance, Choice
from beamhouse.engine.state.request import Request, Row, Sequence
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.generation.resolved import given
from beamhouse.schemas.words import ProblemCode

READS = frozenset(
    {
        "do_sample",
        "prompt_lookup_num_tokens",
        "max_matching_ngram_size",
        "num_assistant_tokens",
        "num_assistant_tokens_schedule",
        "assistant_confidence_threshold",
        "assistant_early_exit",
        "assistant_ensemble_weight",
        "assistant_lookbehind",
        "target_lookbehind",
    }
)


@dataclass(frozen=True, slots=True)
class Assistants:
    """What can draft. models: draft models by name. early_exit: the main model's own first layers.

    step_tokens: most tokens of one step, into which a draft and the newest token must fit.
    """

    models: Mapping[str, Drafter] = field(default_factory=dict)
    early_exit: Drafter | None = None
    step_tokens: int = 512


class Assisted(Strategy):
    """Equals assisted decoding in transformers 5.23 on a batch of one: greedy search, or sampling with a seed.

    The draft settings are the request's own and take effect for it alone; the library reads them from the draft model's
    configuration and ignores those of the call. Sequences are cut at stop strings too, not only at end tokens.
    """

    mode: ClassVar[GenerationMode] = GenerationMode.ASSISTED_GENERATION
    reads: ClassVar[frozenset[str]] = READS

    def __init__(self, assistants: Assistants) -> None:
        self.assistants = assistants
        self._lookup = PromptLookup()

    def prepare(self, request: Request) -> None:
        """Find the drafter. Raises InvalidRequest where there is none, or the draft does not fit a step."""
        config = request.config
        drafter = self._drafter(request)
        field_name = "prompt_lookup_num_tokens" if drafter is self._lookup else "num_assistant_tokens"
        num_tokens: int = getattr(config, field_name)
        most = self.assistants.step_tokens // len(request.sequences[0].with_shadow) - 1
        wanted = min(num_tokens, config.max_length - request.num_prompt - 1)
        if wanted > most:
            text = f"{field_name} is {num_tokens}; allowed by the size of a step: at most {most}"
            raise invalid(f"generation_config.{field_name}", ProblemCode.OUT_OF_RANGE, text)
        request.memory[DRAFTING] = Drafting(drafter, num_tokens, most)
        drafter.check(request)

    def propose(self, requests: Seq[Request], pipeline: Pipeline) -> None:
        """Draft for the sequences that grew since their last draft; a draft stays until it is checked."""
        lacking: dict[Drafter, list[Request]] = {}
        for request in requests:
            state = drafting_of(request)
            if state.drafted_at != len(request.sequences[0].token_ids):
                lacking.setdefault(state.drafter, []).append(request)
        for drafter, group in lacking.items():
            drafts = drafter.draft([request for request in group if room_of(request) > 0], pipeline)
            for request in group:
                _take(request, drafts.get(request, Draft()))

    def advance(self, requests: Seq[Request], step: Step) -> dict[Request, Advance]:
        positions = [row for request in requests for row in _positions(request, step)]
        logits = step.forward.at([at for _, at in positions])
        rows = [row for row, _ in positions]
        scores = step.pipeline.process(rows, logits)  # (R, V), all positions of all requests
        spans = _spans(rows)
        checks = [Check(one, drafting_of(one).draft, scores[spans[one].start : spans[one].stop]) for one in requests]
        given, advances = Scored(rows, logits, scores), dict[Request, Advance]()
        for request, verdict in zip(requests, verify(checks), strict=True):
            span = spans[request]
            used = slice(span.start, min(span.start + verdict.num_accepted + 1, span.stop))
            fail_bad(rows[used], verdict.is_bad[: len(rows[used])])
            if request.failure is None:
                choice = _accepted(rows[used], verdict)
                advances[request] = advanced(request, [(span.start, choice)], given, step)
                _draft_on(request, verdict, len(advances[request].gains[0].token_ids))
        return advances

    def release(self, request: Request) -> None:
        drafting_of(request).drafter.release(request)

    def _drafter(self, request: Request) -> Drafter:
        config = request.config
        if config.prompt_lookup_num_tokens is not None:
            return self._lookup
        if config.assistant_early_exit is not None:
            return self._early_exit()
        return self.assistants.models[given(config.assistant_model)]

    def _early_exit(self) -> Drafter:
        if self.assistants.early_exit is None:
            text = "this model cannot be left after its first layers"
            raise invalid("generation_config.assistant_early_exit", ProblemCode.NOT_SUPPORTED, text)
        return self.assistants.early_exit


def _take(request: Request, draft: Draft) -> None:
    state, sequence = drafting_of(request), request.sequences[0]
    draft = _up_to_the_end(request, sequence, draft)
    state.draft, state.drafted_at = draft, len(sequence.token_ids)
    for one in sequence.with_shadow:
        one.draft_ids = list(draft.token_ids)
    request.num_drafted += len(draft.token_ids)


def _up_to_the_end(request: Request, sequence: Sequence, draft: Draft) -> Draft:
    """The draft without what stands behind the end of the text that the request's constraint allows."""
    for size in range(1, len(draft.token_ids)):
        if _completes(request, sequence, draft.token_ids[:size]):
            probabilities = None if draft.probabilities is None else draft.probabilities[:size]
            return Draft(draft.token_ids[:size], probabilities, draft.num_proposed)
    return draft


def _completes(request: Request, sequence: Sequence, added: list[int]) -> bool:
    return is_complete(request, sequence.token_ids, added, sequence.memory)


def _positions(request: Request, step: Step) -> list[tuple[Row, int]]:
    """A row for each token that the draft may lead to, and its place among the logits.

    Behind an end token nothing is chosen, so it has no row.
    """
    sequence, shadow = request.sequences[0], request.sequences[0].shadow
    draft = sequence.draft_ids
    is_ended = bool(draft) and (draft[-1] in request.ends or _completes(request, sequence, draft))
    first = step.forward.spans[sequence].stop - 1 - len(draft)
    found = []
    for place in range(len(draft) + (not is_ended)):
        unconditional = None
        if shadow is not None:
            unconditional = step.forward.logits[step.forward.spans[shadow].stop - 1 - len(draft) + place]
        found.append((Row(request, sequence.ahead(draft[:place]), unconditional), first + place))
    return found


def _spans(rows: Seq[Row]) -> dict[Request, range]:
    """Which of the rows belong to each request; they stand together."""
    spans: dict[Request, range] = {}
    for place, row in enumerate(rows):
        start = spans[row.request].start if row.request in spans else place
        spans[row.request] = range(start, place + 1)
    return spans


def _accepted(rows: Seq[Row], verdict: Verdict) -> Choice:
    """The accepted tokens, and the next one unless they end the sequence. rows: where all these were chosen."""
    sequence: Sequence = rows[0].request.sequences[0]
    token_ids = sequence.draft_ids[: verdict.num_accepted]
    if len(rows) > len(token_ids):
        token_ids = [*token_ids, verdict.token]
    sequence.learn(rows[-1].sequence)
    return Choice(sequence, token_ids, 0)


def _draft_on(request: Request, verdict: Verdict, num_gained: int) -> None:
    """Count what was accepted, and draft more or less the next time."""
    state, num_drafted = drafting_of(request), len(request.sequences[0].draft_ids)
    request.num_accepted += min(verdict.num_accepted, num_gained)
    if request.config.num_assistant_tokens_schedule in ("heuristic", "heuristic_transient"):
        is_whole = verdict.num_accepted == num_drafted
        state.num_tokens = state.num_tokens + 2 if is_whole else max(1, state.num_tokens - 1)
