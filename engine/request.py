"""A request while it runs, and the sequences it owns."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Any

import torch

from engine.messages import FinishReason, Submission
from schemas.generation import GenerationConfig


@dataclass(eq=False, slots=True)
class Sequence:
    """One list of tokens and its place in the cache.

    token_ids: prompt, then chosen tokens. num_cached: leading tokens whose keys and values are cached. block_ids: the
    cache blocks that hold them, in order; only the cache writes them. memory: what processors and criteria remember
    from step to step, by their name; a fork shares the values, so they are replaced, never changed in place.
    """

    token_ids: list[int]
    num_prompt: int
    index: int = 0
    num_cached: int = 0
    block_ids: list[int] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    finish_reason: FinishReason | None = None

    @property
    def num_generated(self) -> int:
        return len(self.token_ids) - self.num_prompt

    @property
    def num_missing(self) -> int:
        """Tokens known but not cached."""
        return len(self.token_ids) - self.num_cached

    @property
    def generated_ids(self) -> Seq[int]:
        return self.token_ids[self.num_prompt :]


@dataclass(eq=False, slots=True)
class Request:
    """What a client asked for. config: resolved, `max_length` set. generator: the only source of its random numbers.

    prepared: what processors and criteria built once for this request, by their name (bias tables, tries, matchers).
    sequences: the live ones; ended: those with a finish reason. num_matched: prompt tokens found in the cache. All
    times are `time.monotonic()` seconds.
    """

    submission: Submission
    config: GenerationConfig
    eos_token_ids: tuple[int, ...]
    generator: torch.Generator
    sequences: list[Sequence]
    arrived_at: float
    ended: list[Sequence] = field(default_factory=list)
    prepared: dict[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    num_matched: int = 0
    first_token_at: float | None = None

    @property
    def id(self) -> str:
        return self.submission.request_id

    @property
    def num_prompt(self) -> int:
        return len(self.submission.prompt_ids)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of scores: the sequence it continues and the request that owns it."""

    request: Request
    sequence: Sequence
