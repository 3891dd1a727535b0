"""Runs prompts through an engine in this process, and through `generate()`."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from transformers import GenerationConfig as LibraryConfig
from transformers import SynthIDTextWatermarkingConfig, WatermarkingConfig

from beamhouse.config.settings import EngineSettings
from beamhouse.config.sources import read_defaults
from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Finished, FinishReason, Ranking, Submission, Tokens, TopToken
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.defaults import OURS
from beamhouse.schemas.generation.resolution import resolve
from tests.parity.models import reference, served
from tests.parity.occurrences import penalized

_DEFAULTS = {key: given.value for key, given in read_defaults().items() if key in EngineSettings.model_fields}
SETTINGS = EngineSettings(
    **_DEFAULTS
    | {
        "num_threads": 1, "max_rows": 64, "step_tokens": 96, "max_stretch": 1.8, "block_size": 16,
        "cache_tokens": 64 * 256, "max_waiting": 256, "max_beams": 64,
    }
)  # fmt: skip

MAX_STEPS = 50_000
"""Far more than any test needs."""

_numbers = itertools.count()


@dataclass(slots=True)
class Answer:
    """What came back of one submission. token_ids, reasons, rankings: by sequence."""

    token_ids: dict[int, list[int]] = field(default_factory=dict)
    scores: dict[int, list[float | None]] = field(default_factory=dict)
    top_tokens: dict[int, list[list[TopToken]]] = field(default_factory=dict)
    reasons: dict[int, FinishReason] = field(default_factory=dict)
    rankings: dict[int, Ranking] = field(default_factory=dict)
    finished: Finished | None = None

    def take(self, tokens: Tokens) -> None:
        self.token_ids.setdefault(tokens.sequence, []).extend(tokens.token_ids)
        self.scores.setdefault(tokens.sequence, []).extend(tokens.scores)
        self.top_tokens.setdefault(tokens.sequence, []).extend(tokens.top_tokens)
        if tokens.finish_reason is not None:
            self.reasons[tokens.sequence] = tokens.finish_reason
        if tokens.ranking is not None:
            self.rankings[tokens.sequence] = tokens.ranking

    @property
    def sequences(self) -> list[list[int]]:
        return [self.token_ids[index] for index in sorted(self.token_ids)]

    def tensor(self, name: str) -> torch.Tensor:
        assert self.finished is not None
        tensor = self.finished.tensors[name]
        return torch.frombuffer(bytearray(tensor.data), dtype=getattr(torch, tensor.dtype)).view(tensor.shape)


@cache
def engine_of(family: str) -> Engine:
    """One engine per model, used by all tests: what they leave behind in its cache must not matter."""
    _, engine = assemble(served(family), SETTINGS, Extensions(Registry({}, {}), {}))
    return engine


def prompt(seed: int, length: int, family: str) -> list[int]:
    """Random tokens, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, reference(family).config.vocab_size, (length,), generator=generator).tolist()


def submission(family: str, prompt_ids: list[int], fields: dict[str, Any], **outside: Any) -> Submission:
    """A submission as the server would make it."""
    model = GenerationConfig.from_dict(reference(family).generation_config.to_diff_dict())
    asked = GenerationConfig.from_dict(fields)
    config = resolve(
        asked,
        model,
        prompt_len=len(prompt_ids),
        context_len=None,
        assistant_model=outside.pop("assistant_model", None),
    )
    return Submission(f"test-{next(_numbers)}", prompt_ids, config, **outside)


def run(
    engine: Engine, arrivals: Mapping[int, list[Submission]], cancels: Mapping[int, list[str]] = MappingProxyType({})
) -> dict[str, Answer]:
    """Run until nothing is left. arrivals, cancels: what is submitted or cancelled before each step, by its number."""
    answers: dict[str, Answer] = {}
    for step in itertools.count():
        for one in arrivals.get(step, []):
            answers[one.request_id] = Answer()
            engine.submit(one)
        engine.cancel(cancels.get(step, []))
        outputs = engine.step()
        for request in outputs.requests:
            for tokens in request.tokens:
                answers[request.request_id].take(tokens)
        for finished in outputs.finished:
            assert answers[finished.request_id].finished is None, f"{finished.request_id} ended twice"
            answers[finished.request_id].finished = finished
        if not engine.has_work and step >= max(arrivals):
            return answers
        assert step < MAX_STEPS, "the engine never gets done"
    raise AssertionError  # the steps have no end


def alone(engine: Engine, one: Submission) -> Answer:
    return run(engine, {0: [one]})[one.request_id]


def library_config(fields: dict[str, Any]) -> LibraryConfig:
    """The library's own configuration, which returns scores, without fields of ours.

    A watermark may be plain data or the library's object.
    """
    known, mark = {name: fields[name] for name in fields.keys() - OURS}, fields.get("watermarking_config")
    if isinstance(mark, dict):
        kind = SynthIDTextWatermarkingConfig if "keys" in mark else WatermarkingConfig
        known["watermarking_config"] = kind(**mark)
    return LibraryConfig(**known, output_scores=True, return_dict_in_generate=True)


@dataclass(frozen=True, slots=True)
class Expected:
    """What `generate()` gives. token_ids: by sequence, cut after the end token."""

    token_ids: list[list[int]]
    scores: torch.Tensor


def generate(family: str, prompt_ids: list[int], fields: dict[str, Any], seed: int | None = None) -> Expected:
    """The library's own answer on a batch of one."""
    model = reference(family)
    if seed is not None:
        torch.manual_seed(seed)
    with torch.inference_mode(), penalized(family, fields, len(prompt_ids)):
        out = model.generate(
            torch.tensor([prompt_ids]),
            generation_config=library_config(fields),
        )
    eos = fields.get("eos_token_id", model.generation_config.eos_token_id)
    ends = {eos} if isinstance(eos, int) else set(eos or ())
    rows = [until_end(row[len(prompt_ids) :].tolist(), ends) for row in out.sequences]
    return Expected(rows, torch.stack(out.scores))


def until_end(token_ids: list[int], ends: Collection[int]) -> list[int]:
    """What the first end token ends, with it."""
    for place, token in enumerate(token_ids):
        if token in ends:
            return token_ids[: place + 1]
    return token_ids
