"""A real engine process behind its client: answers, hang-ups, death."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable

import anyio
import pytest
import uvloop

from beamhouse.config.settings import Settings
from beamhouse.engine.link.client import EngineClient, EngineStatus
from beamhouse.engine.link.errors import DeadlinePassed, EngineUnavailable, InvalidRequest
from beamhouse.engine.link.messages import Constraint, Submission, Wanted
from beamhouse.schemas.words import Stage
from tests.configs import running

pytestmark = pytest.mark.anyio


def settings(model: str = "builtin", **engine: object) -> Settings:
    return Settings(model={"model": model}, engine={"num_threads": 1, "cache_tokens": 8192, **engine})


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[EngineClient]:
    client = EngineClient(settings())
    await client.start()
    await client.loaded()
    yield client
    await client.stop()


def long_one(name: str) -> Submission:
    return Submission(name, [1, 400], running({"max_length": 1000}))


async def until(holds: object, seconds: float = 30) -> None:
    with anyio.fail_after(seconds):
        while not holds():
            await anyio.sleep(0.01)


async def test_a_stream_ends_with_its_last_message(client: EngineClient) -> None:
    async with client.submit(Submission("a", [1, 400], running({"max_length": 7}))) as stream:
        gained = [tokens async for arrived in stream for outputs in arrived for tokens in outputs.tokens]
    tokens = [token for one in gained for token in one.token_ids]
    assert len(tokens) == 5
    assert stream.finished is not None
    assert stream.finished.timings is not None


async def test_progress_travels_in_the_stream_if_it_is_wanted(client: EngineClient) -> None:
    for wanted in (Wanted(), Wanted(progress=True)):
        config = running({"max_length": 6, "num_beams": 2})
        beams = Submission(f"p-{wanted.progress}", [1, 400], config, wanted=wanted)
        async with client.submit(beams) as stream:
            gained = [outputs async for arrived in stream for outputs in arrived]
        told = [len(outputs.hypotheses) for outputs in gained if outputs.hypotheses]
        assert bool(told) == wanted.progress
        assert set(told) <= {2}
        assert sum(len(tokens.token_ids) for outputs in gained for tokens in outputs.tokens) == 4


async def test_what_the_engine_refuses_names_its_field(client: EngineClient) -> None:
    stream = client.submit(Submission("b", [1], running({"max_length": 100_000})))
    with pytest.raises(InvalidRequest, match=r"generation_config\.max_length"):
        await anext(aiter(stream))


async def test_leaving_a_stream_frees_its_blocks_within_a_step(client: EngineClient) -> None:
    async with client.submit(long_one("c")) as kept:
        arriving = aiter(kept)
        await anext(arriving)
        before = client.load
        async with client.submit(long_one("d")) as left:
            async for _ in left:
                break
            await until(lambda: client.load.running_requests == 2)
        await until(lambda: client.load.running_requests == 1)
        assert client.load.steps - before.steps < 60
    async with client.submit(Submission("e", [1], running({"max_length": 2}))) as last:
        async for _ in last:
            pass
    assert client.load.used_blocks == 0


async def test_constraints_are_compiled_beside_the_steps(client: EngineClient) -> None:
    async with client.submit(long_one("busy")):
        await client.compile(Constraint(regex="a+"))
        for faulty, words in ((Constraint(regex="(a"), "unclosed"), (Constraint(grammar="start: b"), "b")):
            with pytest.raises(InvalidRequest, match=words) as caught:
                await client.compile(faulty)
            assert caught.value.problems[0].field == f"prefix_allowed_tokens.{faulty.kind}"
    await client.compile(Constraint(json_schema={"type": "integer"}))  # wakes a loop that waits


async def test_a_killed_engine_ends_its_streams_and_comes_back(client: EngineClient) -> None:
    async with client.submit(long_one("f")) as stream:
        arriving = aiter(stream)
        await anext(arriving)
        os.kill(client.pid, signal.SIGSTOP)
        compiling = asyncio.create_task(client.compile(Constraint(regex="a")))
        await asyncio.sleep(0)
        os.kill(client.pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable), anyio.fail_after(5):
            await compiling
        with pytest.raises(EngineUnavailable), anyio.fail_after(5):
            async for _ in arriving:
                pass
    assert not client.status.is_ready
    with pytest.raises(EngineUnavailable):
        client.submit(long_one("g"))
    await until(lambda: client.status.is_ready, 120)
    async with client.submit(Submission("h", [1, 400], running({"max_length": 4}))) as stream:
        assert len([update async for updates in stream for update in updates]) == 2


async def test_a_model_that_is_not_there_fails_with_its_reason() -> None:
    client = EngineClient(settings(model="/nowhere/at-all"))
    await client.start()
    with pytest.raises(EngineUnavailable, match="/nowhere/at-all"):
        await client.loaded()
    assert client.status.stage is Stage.FAILED
    await client.stop()


async def test_a_process_that_dies_at_its_first_start_without_a_word_is_not_waited_for() -> None:
    client = EngineClient(settings(), command=(sys.executable, "-c", "raise SystemExit(7)"))
    await client.start()
    with pytest.raises(EngineUnavailable, match="ended with exit code 7"), anyio.fail_after(30):
        await client.loaded()
    assert client.status.stage is Stage.FAILED
    await client.stop()


async def test_stopping_leaves_no_process_behind() -> None:
    client = EngineClient(settings())
    await client.start()
    await until(lambda: client.pid)
    pid = client.pid
    await client.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_deadline_counts_from_the_arrival_at_the_server(client: EngineClient) -> None:
    late = Submission("late", [1, 400], running({"max_length": 4}), deadline_s=2.0, arrived_at=time.monotonic() - 25)
    with pytest.raises(DeadlinePassed, match=r"waited 2[5-9]\.\d s; its deadline was 2 s"):
        await anext(aiter(client.submit(late)))


async def test_an_engine_that_hangs_is_not_ready_then_replaced() -> None:
    client = EngineClient(settings(stall_s=0.5, hang_s=2.0))
    await client.start()
    await client.loaded()
    try:
        stopped = client.pid
        os.kill(stopped, signal.SIGSTOP)
        # Seen though nobody waits any more.
        client.submit(Submission("a", [1, 400], running({"max_length": 6}))).cancel()
        await until(lambda: client.status.stage is Stage.STALLED)
        os.kill(stopped, signal.SIGCONT)
        await until(lambda: client.status.is_ready)
        os.kill(stopped, signal.SIGSTOP)
        compiling = asyncio.create_task(client.compile(Constraint(regex="a")))
        await until(lambda: client.status.stage is Stage.STALLED)
        os.kill(stopped, signal.SIGCONT)
        await compiling
        await until(lambda: client.status.is_ready)
        async with client.submit(Submission("b", [1, 400], running({"max_length": 900}))) as stream:
            await anext(aiter(stream))
            os.kill(stopped, signal.SIGSTOP)
            with pytest.raises(EngineUnavailable, match="made no step for 2 s"), anyio.fail_after(30):
                async for _ in stream:
                    pass
        assert not client.status.is_ready
        await until(lambda: client.status.is_ready, 120)
        assert client.pid != stopped
    finally:
        await client.stop()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_nothing_raises_where_the_engine_has_closed_its_socket(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def talk() -> None:
        client = EngineClient(settings(), command=(sys.executable, "-c", "import sys; sys.stdin.read()"))
        await client.start()
        await until(lambda: client.pid)
        process = client._process
        client.status = EngineStatus(Stage.READY)
        stream = client.submit(Submission("a", [1], running({"max_length": 2})))
        process.transport.abort()
        for _ in range(3):
            stream._is_over = False
            client._streams["a"] = stream
            stream.cancel()
            with pytest.raises(EngineUnavailable):
                client.submit(Submission("b", [1], running({"max_length": 2})))
            await asyncio.sleep(0)
        await client.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(talk())
