"""From a submission to a request: what is built once, when it comes in, and whether it fits this engine at all."""

import time
from typing import Any

import torch

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.logits.processors.guidance import first_sequence
from beamhouse.engine.loop.parts import Parts
from beamhouse.engine.state.request import Output, Request
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.modes import row_field
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode


class Intake:
    """Builds requests, in any thread."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._last: tuple[dict[str, Any], GenerationConfig] = {}, GenerationConfig()

    def build(self, submission: Submission) -> Request:
        """Raises InvalidRequest, which names every field that cannot be obeyed."""
        parts, config = self._parts, self._config_of(submission)
        eos = config.eos_token_id
        request = Request(
            submission=submission,
            config=config,
            mode=config.get_generation_mode(submission.assistant_model),
            eos_token_ids=() if eos is None else (eos,) if isinstance(eos, int) else tuple(eos),
            generator=self._generator(submission.seed),
            sequences=[first_sequence(submission, config)],
            outputs=[Output() for _ in range(config.num_return_sequences or 1)],
            arrived_at=submission.arrived_at or time.monotonic(),
        )
        # The library computes shadows by themselves, and never anew.
        request.sequences[0].renewed_at = parts.cache.stretch.renewed_at
        request.width = (getattr(config, row_field(request.mode)) or 1) * len(request.sequences[0].with_shadow)
        self._check(request)
        parts.strategies[request.mode].prepare(request)
        parts.pipeline.prepare(request)
        parts.stopping.prepare(request, parts.token_bytes)
        return request

    def _generator(self, seed: int | None) -> torch.Generator:
        generator = torch.Generator(device=self._parts.runner.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        return generator

    def _config_of(self, submission: Submission) -> GenerationConfig:
        """The configuration as an object. What another prompt of the same request brought is not read once more."""
        given, (known, config) = submission.config, self._last
        large = [name for name, value in given.items() if isinstance(value, list | dict)]
        if large and known.keys() == given.keys() and all(given[name] is known[name] for name in large):
            config = config.model_copy(update={name: given[name] for name in given.keys() - set(large)})
        else:
            config = GenerationConfig.from_dict(given)
        self._last = given, config
        return config

    def _check(self, request: Request) -> None:
        """What only the engine knows: whether the rows fit a step, and all that they may come to hold the cache."""
        config, cache, limits = request.config, self._parts.cache, self._parts.scheduler.limits
        problems = []
        if not request.submission.prompt_ids:
            problems.append(Problem("inputs", ProblemCode.EMPTY, "the prompt has no tokens"))
        rows, length = request.width, config.max_length or 0
        if rows > limits.max_rows:
            field = row_field(request.mode)
            guided = " with guidance" if request.sequences[0].shadow is not None else ""
            text = f"{field} is {getattr(config, field)}, which takes {rows} rows of a step{guided}"
            problem = f"{text}; allowed: at most {limits.max_rows}"
            problems.append(Problem(f"generation_config.{field}", ProblemCode.OUT_OF_RANGE, problem))
        elif self._most_blocks(request) > cache.num_blocks:
            room = cache.num_blocks * cache.block_size
            text = f"{rows} sequences of up to {length} tokens do not fit the cache, which holds {room} tokens"
            problems.append(Problem("generation_config.max_length", ProblemCode.OUT_OF_RANGE, text))
        if problems:
            raise InvalidRequest(problems)

    def _most_blocks(self, request: Request) -> int:
        """Cache blocks a request may come to hold: all its rows at full length, shadows after their own prompts."""
        feeds_last = self._parts.strategies[request.mode].feeds_last
        num_new = (request.config.max_length or 0) - request.num_prompt - (not feeds_last)
        row = request.sequences[0].with_shadow
        blocks_of_row = sum(self._parts.cache.num_blocks_for(one.num_prompt + num_new) for one in row)
        return request.width // len(row) * blocks_of_row
