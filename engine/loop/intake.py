"""From a submission to a request: what is built once, when it comes in, and whether it fits this engine at all."""

import logging
import time
from collections.abc import Mapping

import torch

from beamhouse.engine.decoding.stopping import Stopping
from beamhouse.engine.decoding.strategy import Strategy
from beamhouse.engine.link.errors import EngineError, RequestFailed, invalid
from beamhouse.engine.link.messages import Submission, Tokens
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.logits.processors.guidance import first_sequence
from beamhouse.engine.loop.step_budget import StepLimits
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Request
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.words import ProblemCode

logger = logging.getLogger(__name__)


class Intake:
    """Builds requests, in any thread."""

    def __init__(
        self,
        cache: BlockCache,
        limits: StepLimits,
        pipeline: Pipeline,
        stopping: Stopping,
        strategies: Mapping[GenerationMode, Strategy],
    ) -> None:
        self._cache, self._limits = cache, limits
        self._pipeline, self._stopping, self._strategies = pipeline, stopping, strategies

    def prepare(self, submission: Submission) -> Request | EngineError:
        """The request that a submission makes, with all that it needs built, or why there is none."""
        try:
            return self._build(submission)
        except EngineError as error:
            return error
        except Exception as error:
            logger.exception("a request could not be taken in")
            return RequestFailed(f"the request could not be taken in: {type(error).__name__}")

    def _build(self, submission: Submission) -> Request:
        """Raises InvalidRequest, which names every field that cannot be obeyed."""
        config = submission.config
        request = Request(
            submission=submission,
            generator=self._generator(submission.seed),
            sequences=[first_sequence(submission)],
            outputs=[Tokens(index) for index in range(config.num_return_sequences)],
            arrived_at=submission.arrived_at or time.monotonic(),
        )
        # The library computes shadows by themselves, and never anew.
        request.sequences[0].renewed_at = self._cache.stretch.renewed_at
        self._check(request)
        self._strategies[config.mode].prepare(request)
        self._pipeline.prepare(request)
        self._stopping.prepare(request)
        return request

    def _generator(self, seed: int | None) -> torch.Generator:
        generator = torch.Generator(device=self._pipeline.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        return generator

    def _check(self, request: Request) -> None:
        """Whether all rows at full length fit the cache, which only the engine knows; the rest was judged before."""
        config, cache = request.config, self._cache
        assert request.submission.prompt_ids, "a prompt has tokens"
        assert config.width <= self._limits.max_rows, "a prompt fits a step"
        if self._most_blocks(request) > cache.num_blocks:
            room = cache.num_blocks * cache.block_size
            text = f"{config.width} sequences of up to {config.max_length} tokens do not fit the cache"
            text += f", which holds {room} tokens"
            raise invalid("generation_config.max_length", ProblemCode.OUT_OF_RANGE, text)

    def _most_blocks(self, request: Request) -> int:
        """Cache blocks a request may come to hold: all its rows at full length, shadows after their own prompts."""
        feeds_last = self._strategies[request.config.mode].feeds_last
        num_new = request.config.max_length - request.num_prompt - (not feeds_last)
        row = request.sequences[0].with_shadow
        blocks_of_row = sum(self._cache.num_blocks_for(one.num_prompt + num_new) for one in row)
        num_rows = 1 if request.submission.wanted.prompt_only else request.config.num_rows
        return num_rows * blocks_of_row
