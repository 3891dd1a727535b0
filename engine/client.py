"""What the HTTP process holds of the engine: it starts and watches the engine process, submits and cancels.

Imports no torch. One background task reads the engine's messages; a step wakes it once, whatever the number of
streams.
"""

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from config.settings import Settings
from engine.child import COMMAND, Child
from engine.errors import EngineError, EngineUnavailable
from engine.frames import Frames, framed
from engine.messages import (
    Cancel,
    Inbound,
    Launch,
    Load,
    LoadFailed,
    Loading,
    ModelInfo,
    Shutdown,
    StepOutputs,
    Submission,
    decode_outbound,
    encode,
)
from engine.stream import Stream, Update

logger = logging.getLogger(__name__)

LAST_WORDS_S = 1.0  # what an engine process said before its end has this long to arrive
RESTARTS = (0.0, 1.0, 5.0, 15.0)
"""Seconds to wait before each new start of a process that died; after the last one in a row it stays down."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """stage: starting, resolve, download, weights, check, ready, stopping or failed. share: of the stage."""

    stage: str
    share: float = 0.0
    error: str | None = None

    @property
    def is_ready(self) -> bool:
        return self.stage == "ready"


class Connection(asyncio.Protocol):
    """This process's end of the socket to the engine. over: set once everything the other side said was taken."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._frames = Frames()
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            self._take(message)

    def connection_lost(self, error: Exception | None) -> None:
        self.over.set()


@dataclass(slots=True)
class Process:
    """One life of the engine process. directory: private to it."""

    child: Child
    directory: str
    transport: asyncio.Transport
    connection: Connection

    def say(self, message: Inbound | Launch) -> None:
        self.transport.write(framed(encode(message)))


@dataclass(slots=True)
class EngineClient:
    """The engine, seen from the HTTP process.

    ahead: a process that was started before this one had imported everything; the first life is its. command: starts
    each further one. status: where it stands. info: the loaded model, None until it is ready. load: how busy it was
    after its last step. A process that dies is started again; what was running ends with EngineUnavailable.
    """

    settings: Settings
    ahead: Child | None = None
    command: Sequence[str] = COMMAND
    status: EngineStatus = EngineStatus("starting")
    info: ModelInfo | None = None
    load: Load = field(default_factory=Load)
    _streams: dict[str, Stream] = field(default_factory=dict)
    _process: Process | None = None
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
        self._set(EngineStatus("stopping"))
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
            if status.stage in ("failed", "stopping"):
                break
        if self.info is None:
            raise EngineUnavailable(self.status.error or "the engine is stopping")
        return self.info

    async def changes(self) -> AsyncIterator[EngineStatus]:
        """The status now and after each change, up to ready, failed or stopping."""
        while True:
            changed, status = self._changed, self.status
            yield status
            if status.stage in ("ready", "failed", "stopping"):
                return
            await changed.wait()

    def submit(self, submission: Submission) -> Stream:
        """Hand a prompt to the engine. Raises EngineUnavailable unless it is ready."""
        if not self.status.is_ready or self._process is None:
            reason = f": {self.status.error}" if self.status.error else ""
            raise EngineUnavailable(f"the engine is not ready ({self.status.stage}){reason}")
        stream = Stream(submission.request_id, self.forget)
        self._streams[submission.request_id] = stream
        self._say(submission)
        return stream

    def forget(self, request_id: str) -> None:
        """Cancel a request whose stream nobody reads any more."""
        if self._streams.pop(request_id, None) is not None:
            self._say(Cancel([request_id]))

    def _say(self, message: Inbound) -> None:
        if self._process is not None:
            self._process.say(message)

    async def _keep_alive(self) -> None:
        """One life of the process after another."""
        failures = len(RESTARTS)  # a first start that fails would fail again
        while True:
            started = await self._launch()
            self._process = started
            try:
                was_ready = await self._listen(started)
            finally:
                self._process = None
                await _end(started)
            failures = 0 if was_ready else failures + 1
            if self.status.stage == "stopping":
                return
            code = started.child.returncode
            error = self.status.error or f"the engine process ended with exit code {code}"
            self._drop_all(EngineUnavailable(error))
            if self.status.stage == "failed" or failures == len(RESTARTS):
                self._set(EngineStatus("failed", error=error))
                return
            logger.error("%s; starting it again", error)
            self._set(EngineStatus("starting", error=error))
            await asyncio.sleep(RESTARTS[failures])

    async def _launch(self) -> Process:
        child, self.ahead = self.ahead or Child(self.command), None
        try:
            transport, connection = await asyncio.get_running_loop().create_unix_connection(
                lambda: Connection(lambda data: self._take(decode_outbound(data))), sock=child.socket
            )
        except BaseException:
            child.close()
            raise
        return Process(child, tempfile.mkdtemp(prefix="beamhouse-"), transport, connection)

    async def _listen(self, process: Process) -> bool:
        """Take messages until the process ends; whether it ever got ready."""
        settings = self.settings
        process.say(
            Launch(settings.model.model_dump(mode="json"), settings.engine.model_dump(mode="json"), process.directory)
        )
        try:
            await process.child.ended()
            with contextlib.suppress(TimeoutError):  # its last words may still be on their way
                await asyncio.wait_for(process.connection.over.wait(), LAST_WORDS_S)
            return self.info is not None
        finally:
            self.info = None

    def _take(self, message: StepOutputs | Loading | ModelInfo | LoadFailed) -> None:
        match message:
            case StepOutputs():
                self.load = message.load
                updates: list[Update] = [*message.tokens, *message.progress]
                for update in updates:
                    if (stream := self._streams.get(update.request_id)) is not None:
                        stream.put(update)
                for finished in message.finished:
                    if (stream := self._streams.pop(finished.request_id, None)) is not None:
                        stream.end(finished)
            case Loading():
                self._set(EngineStatus(message.stage, message.share))
            case ModelInfo():
                self.info = message
                self._set(EngineStatus("ready", 1.0))
            case LoadFailed():
                self._set(EngineStatus("failed", error=message.error))

    def _drop_all(self, error: EngineError) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.end(error)
        self.load = Load()

    def _set(self, status: EngineStatus) -> None:
        if self.status.stage == "stopping":
            return
        self.status = status
        self._changed.set()
        self._changed = asyncio.Event()


async def _end(process: Process) -> None:
    """Make sure a process and all it used are gone."""
    process.child.kill()
    await process.child.ended()
    process.transport.abort()
    process.child.close()
    shutil.rmtree(process.directory, ignore_errors=True)
