"""Drafts by a small model whose tokens can be named in the main model's vocabulary."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Protocol

import torch

from beamhouse.engine.decoding.drafting.draft_runner import DraftRunner, OpenDraft
from beamhouse.engine.decoding.drafting.drafter import Draft, Drafter, draft_limit
from beamhouse.engine.logits.bad_rows import bad_rows
from beamhouse.engine.logits.multinomial import Turn, winners
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.logits.sparse_scores import best
from beamhouse.engine.state.request import Request, Row, Sequence


class DraftVocabulary(Protocol):
    """How the draft model's tokens are named for the main model."""

    def context(self, request: Request) -> list[int]:
        """The request's tokens as the draft model knows them; at least one."""
        ...

    def translate(self, logits: torch.Tensor) -> torch.Tensor:
        """The draft model's logits (R, V') over the main model's vocabulary, (R, V); -inf for what it does not know."""
        ...

    def draft_id(self, token: int) -> int:
        """The draft model's token for one of the main model's that it knows."""
        ...


@dataclass(frozen=True, slots=True)
class SameVocabulary(DraftVocabulary):
    """Both models name the same tokens alike; the rows of one may be padded to another size."""

    vocab_size: int

    def context(self, request: Request) -> list[int]:
        return list(request.sequences[0].token_ids)

    def translate(self, logits: torch.Tensor) -> torch.Tensor:
        num_lacking = self.vocab_size - logits.shape[1]
        if num_lacking <= 0:
            return logits[:, : self.vocab_size]
        return torch.nn.functional.pad(logits, (0, num_lacking), value=-torch.inf)

    def draft_id(self, token: int) -> int:
        return token


@dataclass(slots=True)
class Writing:
    """A draft that is being written. view: the sequence with the tokens drafted so far."""

    view: Sequence
    token_ids: list[int] = field(default_factory=list)
    probabilities: list[torch.Tensor] = field(default_factory=list)


class DraftModel(Drafter):
    """Equals `generate()` of the draft model as assisted decoding calls it, for all requests in the same passes.

    The draft model's logits go through the request's own processors, guidance excepted; those that shape a drawn
    distribution act twice, as they do in the library. A draft ends behind an end token, behind a token less likely than
    `assistant_confidence_threshold`, and where the processors fail or leave nothing to choose.
    """

    def __init__(self, runner: DraftRunner, vocabulary: DraftVocabulary) -> None:
        self.runner, self._vocabulary = runner, vocabulary

    def draft(self, requests: Seq[Request], pipeline: Pipeline) -> dict[Request, Draft]:
        writings = {request: Writing(request.sequences[0].ahead([])) for request in requests}
        drafts = [OpenDraft(request, self._vocabulary.context(request), draft_limit(request)) for request in requests]
        self.runner.run(drafts, lambda live, logits: self._choose(live, logits, writings, pipeline))
        return {request: _finished(writing) for request, writing in writings.items()}

    def release(self, request: Request) -> None:
        self.runner.release(request)

    def _choose(
        self, drafts: list[OpenDraft], logits: torch.Tensor, writings: dict[Request, Writing], pipeline: Pipeline
    ) -> list[int | None]:
        rows = [Row(draft.request, writings[draft.request].view) for draft in drafts]
        scores = pipeline.process(rows, self._vocabulary.translate(logits))
        scores = pipeline.shape_again(rows, scores)
        probabilities = scores.softmax(-1)  # (R, V)
        picked = _pick(drafts, scores, probabilities)
        is_bad = bad_rows(scores, for_sampling=True)
        chosen = probabilities.gather(1, picked[:, None])[:, 0].double()
        thresholds = [draft.request.config.assistant_confidence_threshold for draft in drafts]
        is_unsure = chosen < torch.tensor(thresholds, dtype=torch.float64, device=chosen.device)
        packed = torch.stack([picked, is_bad.long(), is_unsure.long()], 1).tolist()  # one transfer
        followed: list[int | None] = []
        for place, (draft, (token, bad, unsure)) in enumerate(zip(drafts, packed, strict=True)):
            writing = writings[draft.request]
            if bad or draft.request.failure is not None:
                followed.append(None)
                continue
            writing.token_ids.append(token)
            writing.view.token_ids.append(token)
            if _needs_probabilities(draft.request):
                writing.probabilities.append(probabilities[place])
            is_over = unsure or token in draft.request.ends or len(writing.token_ids) == draft.limit
            followed.append(None if is_over else self._vocabulary.draft_id(token))
        return followed


def _pick(drafts: list[OpenDraft], scores: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """The best token of each row, or one drawn with the request's next random numbers. (R,) int64"""
    drawing = [place for place, draft in enumerate(drafts) if draft.request.config.do_sample]
    picked = best(scores)
    if drawing:
        at = torch.tensor(drawing, device=scores.device)
        turns = [Turn(drafts[place].request.generator) for place in drawing]
        picked[at] = winners(probabilities.index_select(0, at), turns)[:, 0]
    return picked


def _needs_probabilities(request: Request) -> bool:
    return request.config.do_sample or request.config.assistant_ensemble_weight is not None


def _finished(writing: Writing) -> Draft:
    probabilities = torch.stack(writing.probabilities) if writing.probabilities else None
    return Draft(writing.token_ids, probabilities, len(writing.token_ids))
