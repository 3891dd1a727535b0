"""What an engine is built of."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from engine.cache import BlockCache
from engine.decoding.strategy import Strategy
from engine.logits.pipeline import Pipeline
from engine.runners.runner import Runner
from engine.scheduler import Scheduler
from engine.stopping import Stopping
from schemas.generation import GenerationMode


@dataclass(frozen=True, slots=True)
class Parts:
    """token_bytes: what each token spells, where the tokenizer is known; for stop strings."""

    runner: Runner
    cache: BlockCache
    scheduler: Scheduler
    pipeline: Pipeline
    stopping: Stopping
    strategies: dict[GenerationMode, Strategy]
    token_bytes: Seq[bytes] | None
