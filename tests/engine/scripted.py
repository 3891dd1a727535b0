"""An engine around a model whose logits are written by the test."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from typing import Any

import torch

from engine.batch import Batch, Forward
from engine.cache import BlockCache
from engine.decoding.assisted import Assistants
from engine.decoding.dola import ModelFacts
from engine.decoding.modes import strategies
from engine.engine import Engine, Parts
from engine.logits.pipeline import Pipeline
from engine.logits.registry import Registry
from engine.messages import Submission
from engine.plan import Limits
from engine.request import Sequence
from engine.runners.runner import Inspection
from engine.scheduler import Scheduler
from engine.stopping import Stopping

VOCAB_SIZE = 10

Script = Callable[[list[int]], torch.Tensor]
"""The logits, (V,), after a sequence's tokens."""


def next_number(token_ids: list[int]) -> torch.Tensor:
    """Counts up, modulo the vocabulary."""
    logits = torch.zeros(VOCAB_SIZE)
    logits[(token_ids[-1] + 1) % VOCAB_SIZE] = 5.0
    return logits


class ScriptedRunner:
    name = "scripted"
    vocab_size = VOCAB_SIZE
    context_len = 1000
    device = torch.device("cpu")

    def __init__(self, script: Script) -> None:
        self.script = script
        self.batches: list[Batch] = []

    def forward(self, batch: Batch) -> Forward:
        self.batches.append(batch)
        rows: list[torch.Tensor] = []
        spans: dict[Sequence, range] = {}
        for feed in batch.feeds:
            start = feed.sequence.num_cached
            known = (feed.sequence.token_ids + feed.sequence.draft_ids)[: start + len(feed.token_ids)]
            assert known[start:] == feed.token_ids
            feed.sequence.num_cached = len(known)
            if feed.num_logits:
                spans[feed.sequence] = range(len(rows), len(rows) + feed.num_logits)
                first = len(known) - feed.num_logits + 1
                rows += [self.script(known[:end]) for end in range(first, len(known) + 1)]
        return Forward(torch.stack(rows) if rows else torch.zeros(0, VOCAB_SIZE), spans)

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("a scripted model has no head")

    def inspect(self, token_ids: Seq[int], *, hidden_states: bool, attentions: bool) -> Inspection:
        raise RuntimeError("a scripted model has no layers")


def make_engine(script: Script = next_number, registry: Registry | None = None, **limits: int) -> Engine:
    """limits: num_blocks, max_rows, step_tokens, max_waiting."""
    registry = registry or Registry({}, {})
    runner = ScriptedRunner(script)
    cache = BlockCache(limits.pop("num_blocks", 64), 4)
    return Engine(
        Parts(
            runner=runner,
            cache=cache,
            scheduler=Scheduler(cache, Limits(**{"max_rows": 8, "step_tokens": 64, "max_waiting": 100} | limits)),
            pipeline=Pipeline(VOCAB_SIZE, registry, runner.device),
            stopping=Stopping(registry),
            strategies=strategies(ModelFacts(num_layers=2, has_tied_embeddings=False), Assistants()),
            token_bytes=None,
        )
    )


def submit(engine: Engine, name: str, prompt_ids: list[int], **fields: Any) -> None:
    outside = {key: fields.pop(key) for key in list(fields) if key in Submission.__struct_fields__}
    engine.submit(Submission(name, prompt_ids, {"max_length": len(prompt_ids) + 4} | fields, **outside))


def drain(engine: Engine) -> tuple[dict[str, list[int]], dict[str, str | None]]:
    """Run to the end: the tokens of each request's first sequence, and its error code."""
    tokens: dict[str, list[int]] = {}
    errors: dict[str, str | None] = {}
    while engine.has_work:
        outputs = engine.step()
        for message in outputs.tokens:
            if message.sequence == 0:
                tokens.setdefault(message.request_id, []).extend(message.token_ids)
        errors |= {finished.request_id: finished.error_code for finished in outputs.finished}
    return tokens, errors
