"""The engine process: loads a model, then runs steps and answers over two sockets until its parent is gone.

It reads one `Launch` as JSON from its standard input. That stays open as long as the parent lives; its end, however the
parent ended, ends this process.
"""

import gc
import logging
import sys
import time
from pathlib import Path

import msgspec
import zmq

from config.settings import EngineSettings, ModelSettings
from engine.build import build
from engine.engine import Engine
from engine.errors import EngineError
from engine.messages import (
    Cancel,
    Launch,
    Load,
    LoadFailed,
    Loading,
    Outbound,
    Shutdown,
    Submission,
    decode_inbound,
    encode,
)

logger = logging.getLogger("engine")

LOAD_EVERY_S = 0.05
"""How often the load is told while nothing else is to be said."""


class Loop:
    """Moves messages between the sockets and the engine, one step after another."""

    def __init__(self, launch: Launch, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._inbox = context.socket(zmq.PULL)
        self._outbox = context.socket(zmq.PUSH)
        for socket in (self._inbox, self._outbox):
            socket.set_hwm(0)
            socket.linger = 1000
        self._inbox.connect(launch.inbox)
        self._outbox.connect(launch.outbox)
        self._poller = zmq.Poller()
        self._poller.register(self._inbox, zmq.POLLIN)
        self._poller.register(sys.stdin.fileno(), zmq.POLLIN)

    def say(self, message: Outbound) -> None:
        self._outbox.send(encode(message))

    def run(self, engine: Engine) -> None:
        """Until told to shut down or left alone."""
        told, told_at = Load(), 0.0
        while self._listen(engine, wait=not engine.has_work):
            outputs, now = engine.step(), time.monotonic()
            # A cancelled request may leave nothing to do; that too is told. How busy the engine is can wait a little:
            # each message wakes the other process.
            is_news = bool(outputs.tokens or outputs.progress or outputs.finished)
            if is_news or _counts(outputs.load) != _counts(told) or now - told_at > LOAD_EVERY_S:
                self.say(outputs)
                told, told_at = outputs.load, now

    def _listen(self, engine: Engine, *, wait: bool) -> bool:
        """Take in all that has arrived; False at the end."""
        events = dict(self._poller.poll(None if wait else 0))
        if sys.stdin.fileno() in events:
            return False
        while self._inbox in events:
            try:
                message = decode_inbound(self._inbox.recv(zmq.NOBLOCK))
            except zmq.Again:
                return True
            if isinstance(message, Shutdown):
                return False
            if isinstance(message, Cancel):
                engine.cancel(message.request_ids)
            elif isinstance(message, Submission):
                engine.submit(message)
        return True


def _counts(load: Load) -> tuple[int, int]:
    return load.running_requests, load.waiting_requests


def run() -> None:
    """The whole life of the process."""
    first_line = sys.stdin.readline()
    if not first_line:  # the parent left before it had anything to serve
        return
    launch = msgspec.json.decode(first_line, type=Launch)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    with zmq.Context() as context:
        loop = Loop(launch, context)
        try:
            built = build(
                ModelSettings.model_validate(launch.model),
                EngineSettings.model_validate(launch.engine),
                Path(launch.directory),
                lambda stage, share: loop.say(Loading(stage, share)),
            )
        except Exception as error:
            if not isinstance(error, EngineError):
                logger.exception("loading failed")
            loop.say(LoadFailed(str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"))
            context.destroy(linger=1000)
            raise SystemExit(3) from error
        # What loading left behind lives as long as the process: collections need not look at it in every step.
        gc.collect()
        gc.freeze()
        gc.enable()
        loop.say(built.info)
        loop.run(built.engine)
        context.destroy(linger=1000)
