"""An engine around a model whose logits are written by the test."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from typing import Any

import torch

from beamhouse.engine.decoding.assisted import Assistants
from beamhouse.engine.decoding.modes import strategies
from beamhouse.engine.decoding.strategy import ModelFacts
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.loop.slow_steps import Watch
from beamhouse.engine.loop.step_budget import StepLimits
from beamhouse.engine.runners.runner import Inspection, Seen
from beamhouse.engine.state.batch import Batch, Forward
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Sequence
from tests.configs import running

VOCAB_SIZE = 10

Script = Callable[[list[int]], torch.Tensor]
"""The logits, (V,), after a sequence's tokens."""


def next_number(token_ids: list[int]) -> torch.Tensor:
    """Counts up, modulo the vocabulary."""
    logits = torch.zeros(VOCAB_SIZE)
    logits[(token_ids[-1] + 1) % VOCAB_SIZE] = 5.0
    return logits


class ScriptedRunner:
    """Keeps the tokens it is fed in the slots of their blocks, as a model its keys, and answers from what it reads."""

    name = "scripted"
    vocab_size = VOCAB_SIZE
    max_len = 1000
    device = torch.device("cpu")

    def __init__(self, script: Script, cache: BlockCache) -> None:
        self.script = script
        self.batches: list[Batch] = []
        self._size = cache.block_size
        self._slots = [-1] * (cache.num_blocks * cache.block_size)

    def forward(self, batch: Batch) -> Forward:
        self.batches.append(batch)
        self._copy(batch)
        self._write(batch)
        rows: list[torch.Tensor] = []
        spans: dict[Sequence, range] = {}
        for feed in batch.feeds:
            sequence, end = feed.sequence, feed.sequence.num_cached + len(feed.token_ids)
            read = [self._slots[self._slot(sequence, place)] for place in range(end)]
            assert read == (sequence.token_ids + sequence.draft_ids)[:end]
            sequence.num_cached = end
            if feed.num_logits:
                spans[sequence] = range(len(rows), len(rows) + feed.num_logits)
                rows += [self.script(read[:stop]) for stop in range(end - feed.num_logits + 1, end + 1)]
        return Forward(torch.stack(rows) if rows else torch.zeros(0, VOCAB_SIZE), spans)

    def _copy(self, batch: Batch) -> None:
        """One by one or all at once: no block is the target of two copies, and none is copied once it was a target."""
        targets: set[int] = set()
        for copy in batch.copies:
            assert not {copy.source, copy.target} & targets
            targets.add(copy.target)
            source, target = copy.source * self._size, copy.target * self._size
            self._slots[target : target + self._size] = self._slots[source : source + self._size]

    def _write(self, batch: Batch) -> None:
        """No slot is written twice in a step."""
        written: dict[int, int] = {}
        for feed in batch.feeds:
            for place, token in enumerate(feed.token_ids, feed.sequence.num_cached):
                slot = self._slot(feed.sequence, place)
                assert slot not in written
                written[slot] = token
        for slot, token in written.items():
            self._slots[slot] = token

    def _slot(self, sequence: Sequence, place: int) -> int:
        return sequence.block_ids[place // self._size] * self._size + place % self._size

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("a scripted model has no head")

    def inspect(self, token_ids: Seq[int], inspection: Inspection) -> Iterator[Seen]:
        raise RuntimeError("a scripted model has no layers")


def make_engine(
    script: Script = next_number, registry: Registry | None = None, watch: Watch | None = None, **limits: int
) -> Engine:
    """limits: num_blocks, max_rows, step_tokens, max_waiting."""
    registry = registry or Registry({}, {})
    cache = BlockCache(limits.pop("num_blocks", 64), 4)
    runner = ScriptedRunner(script, cache)
    bounds = StepLimits(**{"max_rows": 8, "step_tokens": 64, "max_waiting": 100} | limits)
    facts, assistants = ModelFacts(num_layers=2, has_tied_embeddings=False), Assistants(step_tokens=bounds.step_tokens)
    pipeline = Pipeline(VOCAB_SIZE, registry, runner.device)
    return Engine(runner, cache, bounds, pipeline, strategies(facts, assistants), watch)


def submit(engine: Engine, name: str, prompt_ids: list[int], **fields: Any) -> None:
    outside = {key: fields.pop(key) for key in list(fields) if key in Submission.__struct_fields__}
    engine.submit(Submission(name, prompt_ids, running({"max_length": len(prompt_ids) + 4} | fields), **outside))


def drain(engine: Engine) -> tuple[dict[str, list[int]], dict[str, str | None]]:
    """Run to the end: the tokens of each request's first sequence, and its error code."""
    tokens: dict[str, list[int]] = {}
    errors: dict[str, str | None] = {}
    while engine.has_work:
        outputs = engine.step()
        for request in outputs.requests:
            for gained in request.tokens:
                if gained.sequence == 0:
                    tokens.setdefault(request.request_id, []).extend(gained.token_ids)
        errors |= {finished.request_id: finished.error_code for finished in outputs.finished}
    return tokens, errors
