"""The web server: what it tells while loading, how it leaves, and that answers end before it does."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from beamhouse.engine.link.client import EngineStatus
from beamhouse.schemas.words import Stage
from beamhouse.server.command.web_server import CannotListen, DrainingServer, bind
from beamhouse.server.edge.event_stream import EventStream

pytestmark = pytest.mark.anyio
BOTH_WAYS = pytest.mark.parametrize("path", ["/plain", "/stream"])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(eq=False)
class FakeEngine:
    """Stands at the border to the engine process: a status, and an end."""

    status: EngineStatus = field(default_factory=lambda: EngineStatus(Stage.STARTING))
    info: None = None
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def stop(self) -> None:
        self.stopped.set()


@dataclass(eq=False)
class Lines:
    """A report that keeps what is told."""

    told: list[str] = field(default_factory=list)

    def loading(self, stage: str, share: float) -> None:
        self.told.append(f"{stage} {share}")

    def done(self) -> None:
        self.told.append("done")

    def say(self, text: str) -> None:
        self.told.append(text)

    fail = say


@dataclass(eq=False)
class Running:
    """A server whose routes answer when `finish` is set or the engine is stopped, plainly and as a stream."""

    server: DrainingServer
    engine: FakeEngine
    report: Lines
    ended: asyncio.Task[None]
    finish: asyncio.Event
    is_closed: asyncio.Event


@asynccontextmanager
async def running(drain_s: float = 60.0) -> AsyncIterator[Running]:
    engine, finish, is_closed = FakeEngine(), asyncio.Event(), asyncio.Event()

    async def outcome() -> str:
        done, pending = await asyncio.wait(
            [asyncio.ensure_future(finish.wait()), asyncio.ensure_future(engine.stopped.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in pending:
            task.cancel()
        assert done
        return "cut" if engine.stopped.is_set() else "whole"

    async def plain(_: Request) -> PlainTextResponse:
        return PlainTextResponse(await outcome())

    async def events() -> AsyncGenerator[bytes, None]:
        yield (await outcome()).encode()

    async def stream(_: Request) -> EventStream:
        return EventStream(events(), lambda: None, ping_s=60)

    app = Starlette(routes=[Route("/plain", plain), Route("/stream", stream)])
    config = uvicorn.Config(app, log_config=None, http="h11", lifespan="off")
    with bind("127.0.0.1", 0) as listener:
        server = DrainingServer(config, engine, f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.report, server.close_doors, server.drain_s = Lines(), is_closed.set, drain_s
        ended = asyncio.create_task(server.serve([listener]))
        try:
            yield Running(server, engine, server.report, ended, finish, is_closed)
        finally:
            finish.set()
            server.should_exit = True
            await asyncio.wait_for(ended, 10)


async def ask(case: Running, path: str) -> asyncio.Task[str]:
    """A request that has reached the server and waits there."""

    async def answer() -> str:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{case.server.address}{path}", timeout=30)).text

    task = asyncio.create_task(answer())
    while not case.server.server_state.tasks:
        await asyncio.sleep(0.01)
    return task


@BOTH_WAYS
async def test_a_signal_closes_the_doors_and_lets_running_requests_end(path: str):
    async with running() as case:
        answer = await ask(case, path)
        case.server.handle_exit(15, None)
        await asyncio.wait_for(case.is_closed.wait(), 10)
        assert not case.ended.done()
        case.finish.set()
        assert await answer == "whole"
        await asyncio.wait_for(case.ended, 10)
        assert case.server.status == 0
        assert not case.engine.stopped.is_set()
        assert case.report.told[-1] == "stopping: 1 requests still run; a second signal ends them"


@BOTH_WAYS
async def test_a_second_signal_ends_what_runs(path: str):
    async with running() as case:
        answer = await ask(case, path)
        case.server.handle_exit(15, None)
        case.server.handle_exit(15, None)
        assert await answer == "cut"
        await asyncio.wait_for(case.ended, 10)
        assert case.server.status == 0


@BOTH_WAYS
async def test_the_end_of_the_drain_ends_what_runs(path: str):
    async with running(drain_s=0.05) as case:
        answer = await ask(case, path)
        case.server.handle_exit(15, None)
        assert await answer == "cut"
        await asyncio.wait_for(case.ended, 10)


async def test_an_engine_that_failed_ends_the_server_with_its_reason():
    async with running() as case:
        case.engine.status = EngineStatus(Stage.FAILED, error="no such model")
        await asyncio.wait_for(case.ended, 10)
        assert case.server.status == 1
        assert case.report.told[-1] == "beamhouse: no such model"


async def test_loading_is_told_until_ready_once():
    async with running() as case:
        server, report = case.server, case.report
        report.told.clear()
        for status in (
            EngineStatus(Stage.WEIGHTS, 0.5),
            EngineStatus(Stage.READY, 1.0),
            EngineStatus(Stage.READY, 1.0),
        ):
            case.engine.status = status
            server.tell()
    assert report.told[:2] == ["weights 0.5", "done"]
    assert report.told[2].startswith(f"ready: {server.address}\n  try: curl {server.address}/generate")
    assert not any(line.startswith("ready:") for line in report.told[3:])


async def test_a_taken_port_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["a..b", "x" * 300, "256.1.1.1", "::zz"])
def test_an_address_that_cannot_be_is_told(host: str):
    with pytest.raises(CannotListen, match="cannot listen on"):
        bind(host, 0)
