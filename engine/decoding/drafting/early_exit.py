"""Drafts by the main model's own first layers."""

from collections.abc import Sequence as Seq
from typing import Protocol

from beamhouse.engine.decoding.drafting.draft_runner import DraftRunner
from beamhouse.engine.decoding.drafting.drafter import Draft, Drafter
from beamhouse.engine.decoding.drafting.model import DraftModel, SameVocabulary
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.runners.runner import Runner
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Request
from beamhouse.schemas.generation.resolved import given


class ExitRunner(Runner, Protocol):
    """A runner of the first `num_layers` of a model, and its head; set before each draft."""

    num_layers: int


class EarlyExit(Drafter):
    """Requests that leave after the same number of layers draft together; all share one cache.

    Source: arXiv:2404.16710. Equals `generate(assistant_early_exit=N)`.
    """

    def __init__(self, runner: ExitRunner, cache: BlockCache, chunk: int) -> None:
        self._runner = runner
        self.model = DraftModel(DraftRunner(runner, cache, chunk), SameVocabulary(runner.vocab_size))

    def draft(self, requests: Seq[Request], pipeline: Pipeline) -> dict[Request, Draft]:
        groups: dict[int, list[Request]] = {}
        for request in requests:
            groups.setdefault(given(request.config.assistant_early_exit), []).append(request)
        drafts: dict[Request, Draft] = {}
        for num_layers, group in groups.items():
            self._runner.num_layers = num_layers
            drafts |= self.model.draft(group, pipeline)
        return drafts

    def release(self, request: Request) -> None:
        self.model.release(request)
