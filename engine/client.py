"""What the HTTP process holds of the engine: it starts and watches the engine process, submits and cancels.

Imports no torch. One background task reads the engine's messages; a step wakes it once, whatever the number of
streams.
"""

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import msgspec
import zmq
import zmq.asyncio

from config.settings import Settings
from engine.child import COMMAND, Child
from engine.errors import EngineError, EngineUnavailable
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


@dataclass(slots=True)
class Process:
    """One life of the engine process."""

    child: Child
    launch: Launch
    inbox: zmq.asyncio.Socket
    outbox: zmq.asyncio.Socket


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
    _context: zmq.asyncio.Context = field(default_factory=zmq.asyncio.Context)

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
        self._context.destroy(linger=0)

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
            # The socket has no high-water mark: the future is done when the call returns.
            _ = self._process.inbox.send(encode(message))

    async def _keep_alive(self) -> None:
        """One life of the process after another."""
        failures = len(RESTARTS)  # a first start that fails would fail again
        while True:
            started = self._launch()
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

    def _launch(self) -> Process:
        directory = tempfile.mkdtemp(prefix="beamhouse-")
        launch = Launch(
            self.settings.model.model_dump(mode="json"), self.settings.engine.model_dump(mode="json"), directory
        )
        inbox, outbox = self._context.socket(zmq.PUSH), self._context.socket(zmq.PULL)
        for socket, address in ((inbox, launch.inbox), (outbox, launch.outbox)):
            socket.set_hwm(0)
            socket.linger = 0
            socket.bind(address)
        child, self.ahead = self.ahead or Child(self.command), None
        return Process(child, launch, inbox, outbox)

    async def _listen(self, process: Process) -> bool:
        """Read messages until the process ends; whether it ever got ready."""
        reader = asyncio.create_task(self._read(process))
        try:
            await process.child.tell(msgspec.json.encode(process.launch))
            await process.child.ended()
            await asyncio.sleep(0.1)  # its last words may still be on their way
            return self.info is not None
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            self.info = None

    async def _read(self, process: Process) -> None:
        while True:
            self._take(decode_outbound(await process.outbox.recv()))

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
    process.child.close()
    process.inbox.close()
    process.outbox.close()
    shutil.rmtree(process.launch.directory, ignore_errors=True)
