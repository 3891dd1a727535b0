"""Who answers in a chat: a server by its address, or a model on this machine in a process of its own."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any, Protocol, cast

from beamhouse.client import BeamhouseError, Client
from beamhouse.config.settings import Settings
from beamhouse.engine.link.child import Child
from beamhouse.engine.link.client import EngineClient
from beamhouse.server.command.failures import CommandFailed
from beamhouse.server.command.in_process import LocalRequest, answer, loaded
from beamhouse.server.command.loading_report import loading_report
from beamhouse.server.command.logs import configure_logs
from beamhouse.server.command.refusals import in_words
from beamhouse.server.service import Service

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class About:
    """The model that answers."""

    name: str
    has_chat_template: bool


class Partner(Protocol):
    """Answers bodies of `POST /generate`."""

    about: About

    def answer(self, body: dict[str, Any], show: Show) -> dict[str, Any]:
        """The whole answer, the text of its first sequence shown on the way. An interrupt cancels the request.

        Raises CommandFailed.
        """


class Remote:
    """A server. Raises CommandFailed where it does not answer or has no model yet."""

    def __init__(self, client: Client) -> None:
        self.client = client
        with failing():
            info = client.info()
        model = info.get("model")
        if model is None:
            raise CommandFailed(f"the server is not ready: {info['status']}")
        self.about = About(model["name"], model["has_chat_template"])

    def answer(self, body: dict[str, Any], show: Show) -> dict[str, Any]:
        asked = dict(body)
        inputs = asked.pop("inputs", None)
        with failing(), self.client.stream(inputs, **asked) as events:
            for event in events:
                if event["event"] == "done":
                    return cast(dict[str, Any], event["answer"])
                if event["event"] != "progress" and event["sequence"] == 0:
                    show(event.get("text") or "")
        raise AssertionError("a stream without its last event is a failure")


class Local:
    """A model here. Its requests run on an event loop of their own, which keeps listening while somebody types."""

    def __init__(self, settings: Settings, child: Child) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = EngineClient(settings, child)
        self.service = Service.of(self.client, settings)
        self.ready: Future[None] = Future()
        self.leaving = asyncio.Event()
        self.living = self.loop.create_task(self.live())
        self.thread = Thread(target=self.loop.run_forever, name="chat")
        self.thread.start()
        try:
            self.ready.result()
            info = self.client.info
            assert info is not None, "said when the model is loaded"
            self.about = About(info.model_id, info.has_chat_template)
        except BaseException:
            self.close()
            raise

    async def live(self) -> None:
        """Load the model, then wait until the chat is left. Its failure is that of whoever waits for the model."""
        try:
            async with loaded(self.client, loading_report()):
                self.ready.set_result(None)
                await self.leaving.wait()
        except Exception as error:
            if self.ready.done():
                raise
            self.ready.set_exception(error)
        finally:
            self.loop.stop()

    def answer(self, body: dict[str, Any], show: Show) -> dict[str, Any]:
        asking: Future[dict[str, Any]] = asyncio.run_coroutine_threadsafe(
            answer(self.service, LocalRequest(body, show)), self.loop
        )
        try:
            return asking.result()
        except KeyboardInterrupt:
            asking.cancel()
            raise

    def close(self) -> None:
        """Also while the model is still loading."""
        self.loop.call_soon_threadsafe(self.leaving.set if self.ready.done() else self.living.cancel)
        self.thread.join()
        self.loop.close()


@contextmanager
def failing() -> Iterator[None]:
    """What a client raises, in words."""
    try:
        yield
    except BeamhouseError as error:
        raise CommandFailed(in_words(error)) from error


@contextmanager
def remote(url: str) -> Iterator[Partner]:
    """The server at this address. Raises CommandFailed."""
    with Client(url) as client:
        yield Remote(client)


@contextmanager
def local(settings: Settings, child: Child) -> Iterator[Partner]:
    """The model of the settings. Raises EngineUnavailable."""
    configure_logs(settings.server.model_copy(update={"log_level": "warning"}))
    partner = Local(settings, child)
    try:
        yield partner
    finally:
        partner.close()
