"""The engine process: loads a model, then runs steps and answers until its parent is gone.

All messages travel over the socket that is its standard input, the first of them a `Launch`. It stays open as long as
the parent lives; its end, however the parent ended, ends this process.
"""

import gc
import logging
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from msgspec import structs

from beamhouse.config.settings import EngineSettings, ModelSettings
from beamhouse.engine.build import build
from beamhouse.engine.link.errors import EngineError, InvalidRequest
from beamhouse.engine.link.frames import Channel, take_standard_input
from beamhouse.engine.link.launch import Launch, decode_launch
from beamhouse.engine.link.messages import (
    Cancel,
    Compile,
    Compiled,
    Load,
    LoadFailed,
    Loading,
    Outbound,
    Shutdown,
    Submission,
    decode_inbound,
    encode,
)
from beamhouse.engine.link.orphan import end_with_parent
from beamhouse.engine.link.sharing import Restorer
from beamhouse.engine.logits.constraints.constraint import CONSTRAINT
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.loop.preparing import Preparing, is_large
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode

logger = logging.getLogger("engine")

TAKE_IN_S = 0.02
"""How long requests are taken in between two steps; those that would take longer wait for the next gap."""

SWITCH_S = 2e-4
"""How long a thread that builds may keep the interpreter from the steps, which let go of it in every operation."""

LOAD_EVERY_S = 0.05
"""How often the load is told while nothing else is to be said."""


class Loop:
    """Moves messages between the channel and the engine, one step after another."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._arrived: deque[bytes] = deque()
        self._restorer = Restorer()
        self._compiler = ThreadPoolExecutor(1, "compiler")
        self._compiled: SimpleQueue[Compiled] = SimpleQueue()
        self._builder = ThreadPoolExecutor(1, "builder")
        self._preparing = Preparing(self._builder, channel.wake)

    def say(self, message: Outbound) -> None:
        self._channel.say(encode(message))

    def run(self, engine: Engine) -> None:
        """Until told to shut down or left alone."""
        told, told_at = Load(), 0.0
        while self._listen(engine, wait=not engine.has_work):
            began_at = time.monotonic()
            outputs, now = engine.step(), time.monotonic()
            # That nothing is left to do is always told, and so heard as a sign of life. How busy the engine is can wait
            # a little: each message wakes the other process.
            is_news = bool(outputs.requests or outputs.finished) or not engine.has_work
            if is_news or _counts(outputs.load) != _counts(told) or now - told_at > LOAD_EVERY_S:
                self.say(structs.replace(outputs, step_s=now - began_at))
                told, told_at = outputs.load, now
            while not self._compiled.empty():
                self.say(self._compiled.get())
        for executor in (self._compiler, self._builder):
            executor.shutdown(wait=False, cancel_futures=True)

    def _listen(self, engine: Engine, *, wait: bool) -> bool:
        """Take in what has arrived, while there is work no more than fits between two steps; False at the end."""
        arrived = self._channel.listen(wait=wait and not self._arrived)
        self._arrived.extend(arrived or ())
        until = time.monotonic() + TAKE_IN_S
        while self._arrived:
            message = decode_inbound(self._arrived.popleft())
            if isinstance(message, Shutdown):
                return False
            if isinstance(message, Cancel):
                self._preparing.forget(message.request_ids)
                engine.cancel(message.request_ids)
            elif isinstance(message, Compile):
                self._compiler.submit(self._compile, engine, message)
            elif isinstance(message, Submission):
                self._take_in(engine, self._restorer.restore(message))
            if engine.has_work and time.monotonic() > until:
                break
        for submission, prepared in self._preparing.done():
            engine.take(submission, prepared)
        return arrived is not None

    def _take_in(self, engine: Engine, submission: Submission) -> None:
        if is_large(submission):
            self._preparing.add(engine, submission)
        else:
            engine.submit(submission)

    def _compile(self, engine: Engine, message: Compile) -> None:
        """In a thread beside the steps, which tells the loop when it is done."""
        try:
            engine.compile(message.constraint)
            answer = Compiled(message.compile_id)
        except InvalidRequest as error:
            answer = Compiled(message.compile_id, error.problems)
        except Exception as error:
            logger.exception("a constraint could not be compiled")
            problem = Problem(CONSTRAINT, ProblemCode.NOT_SUPPORTED, f"it cannot be built: {type(error).__name__}")
            answer = Compiled(message.compile_id, [problem])
        self._compiled.put(answer)
        self._channel.wake()


def _counts(load: Load) -> tuple[int, int]:
    return load.running_requests, load.waiting_requests


def run() -> None:
    """The whole life of the process."""
    link = take_standard_input()
    end_with_parent(link)
    channel = Channel(link)
    launched: list[bytes] | None = []
    while not launched:
        launched = channel.listen(wait=True)
        if launched is None:  # the parent left before it had anything to serve
            return
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        serve(decode_launch(launched[0]), Loop(channel))
    finally:
        channel.close()


def reason_of(error: BaseException) -> str:
    """Why loading failed, in one line; libraries write several."""
    text = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())


def serve(launch: Launch, loop: Loop) -> None:
    """Load, then run until told to shut down. Exits with status 3 if the model cannot be served.

    The reason is the parent's to tell; where in the code it arose is for those who ask for debug lines.
    """
    logger.setLevel(launch.log_level.upper())
    sys.setswitchinterval(SWITCH_S)
    try:
        built = build(
            ModelSettings.model_validate(launch.model),
            EngineSettings.model_validate(launch.engine),
            Path(launch.directory),
            lambda stage, share: loop.say(Loading(stage, share)),
        )
    except BaseException as error:  # a panic of the tokenizers' library is no Exception
        logger.debug("loading failed", exc_info=True)
        loop.say(LoadFailed(reason_of(error)))
        raise SystemExit(3) from error
    # What loading left behind lives as long as the process: collections need not look at it in every step.
    gc.collect()
    gc.freeze()
    gc.enable()
    loop.say(built.info)
    loop.run(built.engine)
