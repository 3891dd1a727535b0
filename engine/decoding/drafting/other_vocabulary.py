"""Drafts by a model with another tokenizer, for greedy search and for sampling."""

from collections.abc import Sequence as Seq

from beamhouse.engine.decoding.drafting.drafter import Draft, Drafter
from beamhouse.engine.decoding.drafting.model import DraftModel
from beamhouse.engine.decoding.drafting.retokenized_text import Retokenized
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.state.request import Request


class Universal(Drafter):
    """Greedy requests get drafts carried over as text, those that sample drafts over the shared vocabulary."""

    def __init__(self, greedy: Retokenized, sampling: DraftModel) -> None:
        self._greedy, self._sampling = greedy, sampling

    def check(self, request: Request) -> None:
        self._part(request).check(request)

    def draft(self, requests: Seq[Request], pipeline: Pipeline) -> dict[Request, Draft]:
        drafts: dict[Request, Draft] = {}
        for part in (self._greedy, self._sampling):
            group = [request for request in requests if self._part(request) is part]
            if group:
                drafts |= part.draft(group, pipeline)
        return drafts

    def release(self, request: Request) -> None:
        self._part(request).release(request)

    def _part(self, request: Request) -> Retokenized | DraftModel:
        return self._sampling if request.config.do_sample else self._greedy
