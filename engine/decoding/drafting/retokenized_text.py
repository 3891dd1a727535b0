"""Drafts by a model with another tokenizer, carried over as text."""

from collections.abc import Sequence as Seq

import torch

from beamhouse.engine.decoding.drafting.draft_runner import DraftRunner, OpenDraft
from beamhouse.engine.decoding.drafting.drafter import Draft, Drafter, draft_limit, drafting_of, room_of
from beamhouse.engine.decoding.drafting.lookup import allowed_beginning
from beamhouse.engine.decoding.drafting.shared_vocabulary import Tokenizers
from beamhouse.engine.link.errors import invalid
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.state.request import Request
from beamhouse.schemas.words import ProblemCode


class Retokenized(Drafter):
    """Decode what is new, encode it with the other tokenizer, and find where it continues what is known.

    Only the last `target_lookbehind` and `assistant_lookbehind` known tokens are encoded again. The draft model's best
    tokens are taken as they are: the request's processors speak of other ids. They cut the draft afterwards.
    Equals AssistedCandidateGeneratorDifferentTokenizers of transformers; there are no probabilities.
    """

    def __init__(self, runner: DraftRunner, tokenizers: Tokenizers, end_ids: frozenset[int]) -> None:
        self._runner, self._tokenizers, self._end_ids = runner, tokenizers, end_ids

    def check(self, request: Request) -> None:
        if request.config.assistant_ensemble_weight is not None:
            text = "assistant_ensemble_weight needs do_sample where the draft model has another tokenizer"
            raise invalid("generation_config.assistant_ensemble_weight", ProblemCode.CONFLICT, text)

    def draft(self, requests: Seq[Request], pipeline: Pipeline) -> dict[Request, Draft]:
        open_drafts = [OpenDraft(request, self._context(request), draft_limit(request)) for request in requests]
        added: dict[OpenDraft, list[int]] = {draft: [] for draft in open_drafts}
        self._runner.run(open_drafts, lambda live, logits: self._choose(live, logits, added))
        drafts = {}
        for draft, token_ids in added.items():
            state = drafting_of(draft.request)
            state.translated, state.num_translated = (
                draft.token_ids + token_ids,
                len(draft.request.sequences[0].token_ids),
            )
            proposed = self._carried_over(draft, token_ids)[: room_of(draft.request)]
            drafts[draft.request] = Draft(allowed_beginning(draft.request, proposed, pipeline))
        return drafts

    def release(self, request: Request) -> None:
        self._runner.release(request)

    def _choose(
        self, drafts: list[OpenDraft], logits: torch.Tensor, added: dict[OpenDraft, list[int]]
    ) -> list[int | None]:
        best = logits.softmax(-1).max(-1)  # (R,)
        thresholds = [draft.request.config.assistant_confidence_threshold for draft in drafts]
        is_unsure = best.values.double() < torch.tensor(thresholds, dtype=torch.float64, device=logits.device)
        packed = torch.stack([best.indices, is_unsure.long()], 1).tolist()  # one transfer
        followed: list[int | None] = []
        for draft, (token, unsure) in zip(drafts, packed, strict=True):
            added[draft].append(token)
            is_over = unsure or token in self._end_ids or len(added[draft]) == draft.limit
            followed.append(None if is_over else token)
        return followed

    def _context(self, request: Request) -> list[int]:
        """The request's tokens in the draft model's; those of the last draft that were accepted stay as they were."""
        state, token_ids = drafting_of(request), request.sequences[0].token_ids
        lookbehind = request.config.target_lookbehind
        if state.num_translated <= lookbehind:
            return self._tokenizers.to_draft(token_ids, add_special_tokens=True)
        window = token_ids[state.num_translated - lookbehind :]
        fresh = self._tokenizers.to_draft(window, add_special_tokens=True)
        known = state.translated
        ends = run_ends(known[-len(fresh) :] if fresh else [], fresh)
        if ends is None:
            return known + fresh
        return known[: max(len(known) - len(fresh), 0) + ends[0]] + fresh[ends[1] :]

    def _carried_over(self, draft: OpenDraft, added: list[int]) -> list[int]:
        """The main model's tokens for the drafted ones; none where the texts do not meet."""
        if not added:
            return []
        lookbehind = draft.request.config.assistant_lookbehind
        fresh = self._tokenizers.to_main((draft.token_ids[-lookbehind:]) + added, add_special_tokens=True)
        known = draft.request.sequences[0].token_ids[-len(fresh) :] if fresh else []
        ends = run_ends(known, fresh)
        return [] if ends is None else fresh[ends[1] + len(known) - ends[0] :]


def run_ends(known: list[int], fresh: list[int]) -> tuple[int, int] | None:
    """Where the longest run of tokens that both hold ends, in each of them; the earliest in `fresh` if several."""
    best, ends = 0, None
    before = [0] * (len(known) + 1)
    for row, token in enumerate(fresh, 1):
        lengths = [0] * (len(known) + 1)
        for column, other in enumerate(known, 1):
            if token == other:
                lengths[column] = before[column - 1] + 1
                if lengths[column] > best:
                    best, ends = lengths[column], (column, row)
        before = lengths
    return ends
