"""What an engine is built of."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from beamhouse.engine.decoding.stopping import Stopping
from beamhouse.engine.decoding.strategy import Strategy
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.loop.scheduler import Scheduler
from beamhouse.engine.runners.runner import Runner
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.schemas.generation.config import GenerationMode


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
