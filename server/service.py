"""What the application holds for as long as it runs: the engine, the limits, the counters, the loaded tokenizer."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from beamhouse.config.settings import Settings
from beamhouse.engine.link.client import EngineStatus
from beamhouse.engine.link.errors import EngineUnavailable, ModelUnsupported, invalid
from beamhouse.engine.link.messages import Constraint, Finished, Load, RequestOutputs, Submission
from beamhouse.engine.text.tokenizer import Text
from beamhouse.engine.watermark.profiles import Profiles, check_known, load_profiles, without_keys
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.judge.asked import Budget, Facts, Limits
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.admission import TURNED_AWAY, Gate
from beamhouse.server.conversation.turn_format import TurnFormat
from beamhouse.server.metrics import Metrics

TOKENIZER_THREADS = 2


class TokenStream(Protocol):
    """What one submission gains, in lists of what came together; raises the request's EngineError if it failed."""

    finished: Finished | None

    def __aiter__(self) -> AsyncIterator[list[RequestOutputs]]: ...
    def cancel(self) -> None: ...


class EngineLink(Protocol):
    """The engine as the HTTP process sees it."""

    status: EngineStatus
    info: ModelInfo | None
    load: Load

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def compile(self, constraint: Constraint) -> None: ...
    def submit(self, submission: Submission) -> TokenStream: ...


@dataclass(frozen=True, slots=True)
class Model:
    """The loaded model. text: None for a model that takes token ids alone.

    facts: what requests are judged by. profiles: the watermarks by name. turns: the form of what it says in
    conversations.
    """

    facts: Facts
    text: Text | None
    profiles: Profiles
    turns: TurnFormat

    @property
    def info(self) -> ModelInfo:
        return self.facts.info

    @property
    def config(self) -> GenerationConfig:
        """Its own generation configuration, with the server's default watermark; never the keys of one."""
        return self.facts.defaults

    def need_text(self, what: str) -> Text:
        """The tokenizer, or InvalidRequest naming the field that needs one."""
        if self.text is None:
            raise invalid(what, ProblemCode.NO_TOKENIZER, "this model has no tokenizer; give token ids")
        return self.text


@dataclass(slots=True)
class Service:
    """One per application. started_at: in seconds since 1970."""

    client: EngineLink
    settings: Settings
    gate: Gate
    metrics: Metrics
    started_at: float = field(default_factory=time.time)
    limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(TOKENIZER_THREADS))
    detector_limiter: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    _lock: anyio.Lock = field(default_factory=anyio.Lock)
    _model: Model | None = None

    @classmethod
    def of(cls, client: EngineLink, settings: Settings) -> "Service":
        metrics = Metrics(lambda: client.load, lambda: client.status.is_ready, settings.server.tgi_compat)
        return cls(client, settings, Gate(settings.server.max_requests), metrics)

    async def model(self) -> Model:
        """The model that is being served. Raises EngineUnavailable before it is loaded and while stopping."""
        status, info = self.client.status, self.client.info
        if not status.is_ready or info is None:
            reason = f": {status.error}" if status.error else ""
            raise EngineUnavailable(f"the model is not ready ({status.stage}, {status.share:.0%}){reason}")
        async with self._lock:
            if self._model is None or self._model.info is not info:
                self._model = await anyio.to_thread.run_sync(open_model, info, self.settings, limiter=self.limiter)
            return self._model

    @property
    def retry_after_s(self) -> int:
        return self.gate.retry_after_s(self.client.load.waiting_requests)

    def retry_headers(self, status: int) -> dict[str, str]:
        """When to come back, for the statuses that ask for it."""
        return {"Retry-After": str(self.retry_after_s)} if status in TURNED_AWAY else {}


def open_model(info: ModelInfo, settings: Settings) -> Model:
    """What this process holds of a model. Raises ModelUnsupported for a broken tokenizer or watermark."""
    text = None
    if info.tokenizer_file is not None:
        text = Text.load(info.tokenizer_file, info.chat_template, info.special_tokens, info.tokenizer_switches)
    config = GenerationConfig.from_dict(info.generation_config)
    try:
        profiles = load_profiles(settings.model.watermarks, config, info.vocab_size)
        if isinstance(mark := settings.server.tgi_watermark, str):
            check_known("tgi_watermark", mark, profiles)
    except ValueError as error:
        raise ModelUnsupported(str(error)) from error
    shown = without_keys(config)
    if settings.model.default_watermark is not None:
        shown = shown.model_copy(update={"watermarking_config": settings.model.default_watermark})
    facts = Facts(
        info, budget_of(settings), shown, sorted(profiles), settings.model.require_watermark, limits_of(settings)
    )
    return Model(facts, text, profiles, turn_format(info, settings, text))


def turn_format(info: ModelInfo, settings: Settings, text: Text | None) -> TurnFormat:
    """The form of the model's turns: as set, else as its chat templates tell."""
    special_ids = {} if text is None else text.special_ids
    templates = [info.tokenizer_switches.tool_template, info.chat_template]
    told = "\n".join(template for template in templates if template is not None)
    return TurnFormat.of(told, special_ids, settings.model.tool_format, settings.model.reasoning_format)


def limits_of(settings: Settings) -> Limits:
    """How much a request may ask for."""
    server = settings.server
    return Limits(
        server.max_sequences,
        server.max_stop_strings,
        server.max_top_tokens,
        server.max_prompt_tokens,
        server.max_total_tokens,
    )


def budget_of(settings: Settings) -> Budget:
    """What one request may cost."""
    server = settings.server
    return Budget(server.max_answer_bytes, server.max_tensor_bytes, server.max_build_items, server.max_step_ms)
