"""What the HTTP process holds of the engine: it starts and watches the engine process, submits and cancels.

Imports no torch. One background task reads the engine's messages; a step wakes it once, whatever the number of
streams.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import BinaryIO

from beamhouse.config.settings import Settings
from beamhouse.engine.link.child import COMMAND, Child
from beamhouse.engine.link.engine_process import Life
from beamhouse.engine.link.errors import EngineError, EngineUnavailable, InvalidRequest
from beamhouse.engine.link.frames import LAST_WORDS_S
from beamhouse.engine.link.launch import Launch
from beamhouse.engine.link.messages import (
    Cancel,
    Compile,
    Compiled,
    Constraint,
    Inbound,
    Load,
    LoadFailed,
    Loading,
    Outbound,
    Shutdown,
    StepOutputs,
    Submission,
    decode_outbound,
)
from beamhouse.engine.link.pulse import Pulse
from beamhouse.engine.link.stream import Stream
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import Stage

logger = logging.getLogger(__name__)

RESTARTS = (0.0, 1.0, 5.0, 15.0)
"""Seconds to wait before each new start of a process that died; after the last one in a row it stays down."""
WATCH_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """share: of the stage."""

    stage: Stage
    share: float = 0.0
    error: str | None = None

    @property
    def is_ready(self) -> bool:
        return self.stage is Stage.READY


@dataclass(slots=True)
class EngineClient:
    """The engine, seen from the HTTP process.

    ahead: a process that was started before this one had imported everything; the first life is its. command: starts
    each further one. hear: takes what each prints, if that is not to go where this process prints. status: where it
    stands. info: the loaded model, None until it is ready. load: how busy it was after its last step. A process that
    dies is started again; what was running ends with EngineUnavailable. So does one that makes no step though it has
    work: first it is not ready, then it is ended. Loading may take any time.
    """

    settings: Settings
    ahead: Child | None = None
    command: Sequence[str] = COMMAND
    hear: Callable[[BinaryIO], None] | None = None
    status: EngineStatus = EngineStatus(Stage.STARTING)
    info: ModelInfo | None = None
    load: Load = field(default_factory=Load)
    _streams: dict[str, Stream] = field(default_factory=dict)
    _compilations: dict[int, asyncio.Future[list[Problem]]] = field(default_factory=dict)
    _num_compilations: int = 0
    _awaits_word: bool = False
    _process: Life | None = None
    _pulse: Pulse = field(default_factory=lambda: Pulse(inf, inf))
    _keeper: asyncio.Task[None] | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        """The engine process, 0 while there is none."""
        return self._process.child.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start the engine process and keep it alive; returns at once, loading goes on behind it."""
        self._keeper = asyncio.create_task(self._keep_alive(), name="engine keeper")

    async def stop(self) -> None:
        """End the engine process and every stream."""
        self._set(EngineStatus(Stage.STOPPING))
        self._drop_all(EngineUnavailable("the server is stopping"))
        if self._process is not None:
            self._say(Shutdown())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.child.ended(), 5)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def loaded(self) -> ModelInfo:
        """Wait until the model is loaded. Raises EngineUnavailable with the reason if that fails."""
        async for status in self.changes():
            if status.stage in (Stage.FAILED, Stage.STOPPING):
                break
        if self.info is None:
            raise EngineUnavailable(self.status.error or "the engine is stopping")
        return self.info

    async def changes(self) -> AsyncIterator[EngineStatus]:
        """The status now and after each change, up to ready, failed or stopping."""
        while True:
            changed, status = self._changed, self.status
            yield status
            if status.stage in (Stage.READY, Stage.FAILED, Stage.STOPPING):
                return
            await changed.wait()

    async def compile(self, constraint: Constraint) -> None:
        """Let the engine build a constraint beside its steps. Raises InvalidRequest, EngineUnavailable."""
        process = self._ready_process()
        self._num_compilations += 1
        compile_id, answer = self._num_compilations, asyncio.get_running_loop().create_future()
        self._compilations[compile_id] = answer
        process.say(Compile(compile_id, constraint))
        self._awaits_word = True
        try:
            if problems := await answer:
                raise InvalidRequest(problems)
        finally:
            self._compilations.pop(compile_id, None)

    def submit(self, submission: Submission) -> Stream:
        """Hand a prompt to the engine. Raises EngineUnavailable unless it is ready."""
        self._ready_process().say(submission)
        self._awaits_word = True
        stream = self._streams[submission.request_id] = Stream(submission.request_id, self.forget)
        return stream

    def _ready_process(self) -> Life:
        if not self.status.is_ready or self._process is None or not self._process.hears:
            reason = f": {self.status.error}" if self.status.error else ""
            raise EngineUnavailable(f"the engine is not ready ({self.status.stage}){reason}")
        return self._process

    def forget(self, request_id: str) -> None:
        """Cancel a request whose stream nobody reads any more."""
        if self._streams.pop(request_id, None) is not None:
            self._say(Cancel([request_id]))
            self._awaits_word = True

    def _say(self, message: Inbound) -> None:
        if self._process is not None:
            self._process.say(message)

    async def _keep_alive(self) -> None:
        """One life of the process after another."""
        failures = len(RESTARTS)  # a first start that fails would fail again
        while True:
            child, self.ahead = self.ahead or Child(self.command, is_captured=self.hear is not None), None
            if self.hear is not None and child.output is not None:
                self.hear(child.output)
            started = await Life.begin(child, lambda data: self._take(decode_outbound(data)))
            self._process = started
            try:
                was_ready = await self._listen(started)
            finally:
                self._process = None
                await started.clear()
            failures = 0 if was_ready else failures + 1
            if self.status.stage is Stage.STOPPING:
                return
            error = started.fault or f"the engine process ended with exit code {started.child.returncode}"
            if self.status.stage is Stage.FAILED:
                error = self.status.error or error
            self._drop_all(EngineUnavailable(error))
            if self.status.stage is Stage.FAILED or failures >= len(RESTARTS):
                self._set(EngineStatus(Stage.FAILED, error=error))
                return
            logger.error("%s; starting it again", error)
            self._set(EngineStatus(Stage.STARTING, error=error))
            await asyncio.sleep(RESTARTS[failures])

    async def _listen(self, process: Life) -> bool:
        """Take messages until the process ends; whether it ever got ready."""
        settings = self.settings
        parts = (settings.model.model_dump(mode="json"), settings.engine.model_dump(mode="json"))
        process.say(Launch(*parts, process.directory, settings.server.log_level))
        watching = asyncio.create_task(self._watch(process), name="engine watch")
        try:
            await process.child.ended()
            with contextlib.suppress(TimeoutError):  # its last words may still be on their way
                await asyncio.wait_for(process.connection.over.wait(), LAST_WORDS_S)
            return self.info is not None
        finally:
            watching.cancel()
            self.info = None

    async def _watch(self, process: Life) -> None:
        """Notice when the engine makes no steps though it has work, and end it when it will not come back."""
        settings = self.settings.engine
        pulse = self._pulse = Pulse(settings.stall_s, settings.hang_s)
        interval = min(WATCH_EVERY_S, settings.stall_s / 4)
        looked_at = time.monotonic()
        while not pulse.is_hung:
            await asyncio.sleep(interval)
            now = time.monotonic()
            if self._awaits_word:
                # While this process was stopped or busy itself, it could hear nothing.
                pulse.wait(min(now - looked_at, 2 * interval))
            else:
                pulse.rest()
            looked_at = now
            self._judge(pulse)
        process.end(f"the engine made no step for {pulse.silence_s:.0f} s and was ended")

    def _judge(self, pulse: Pulse) -> None:
        """Tell ready from stalled."""
        if self.status.is_ready and pulse.is_stalled:
            error = f"no step for {pulse.silence_s:.0f} s"
            logger.warning("the engine stalls: %s", error)
            self._set(EngineStatus(Stage.STALLED, 1.0, error))
        elif self.status.stage is Stage.STALLED and not pulse.is_stalled:
            self._set(EngineStatus(Stage.READY, 1.0))

    def _take(self, message: Outbound) -> None:
        match message:
            case StepOutputs():
                self.load = message.load
                self._pulse.beat(message.step_s)
                self._judge(self._pulse)
                for outputs in message.requests:
                    if (stream := self._streams.get(outputs.request_id)) is not None:
                        stream.put(outputs)
                for finished in message.finished:
                    if (stream := self._streams.pop(finished.request_id, None)) is not None:
                        stream.end(finished)
                # Before it waits for more to do, the engine always says so.
                self._awaits_word = bool(self._streams)
            case Compiled():
                answer = self._compilations.get(message.compile_id)
                if answer is not None and not answer.done():
                    answer.set_result(message.problems)
            case Loading():
                self._set(EngineStatus(message.stage, message.share))
            case ModelInfo():
                self.info = message
                self._set(EngineStatus(Stage.READY, 1.0))
            case LoadFailed():
                self._set(EngineStatus(Stage.FAILED, error=message.error))

    def _drop_all(self, error: EngineError) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.end(error)
        for answer in self._compilations.values():
            if not answer.done():
                answer.set_exception(error)
        self.load = Load()
        self._awaits_word = False

    def _set(self, status: EngineStatus) -> None:
        if self.status.stage is Stage.STOPPING:
            return
        self.status = status
        self._changed.set()
        self._changed = asyncio.Event()
