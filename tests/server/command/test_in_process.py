"""A request without a server: its text comes in pieces, its answer is that of a server, its refusals are text."""

import json
from pathlib import Path
from typing import Any

import pytest

from beamhouse.config.settings import Settings
from beamhouse.engine.link.errors import EngineUnavailable, RequestFailed
from beamhouse.server.command.in_process import LocalRequest, answer
from beamhouse.server.command.refusals import RequestRefused
from beamhouse.server.service import Service
from tests.fakes import FakeEngine, fake_info, save_byte_tokenizer, tokens_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def engine(tmp_path: Path) -> FakeEngine:
    return FakeEngine(fake_info(save_byte_tokenizer(tmp_path)))


async def ask(engine: FakeEngine, **body: Any) -> tuple[Any, list[str]]:
    """The answer and the pieces of text before it."""
    pieces: list[str] = []
    found = await answer(Service.of(engine, Settings()), LocalRequest(body, pieces.append))
    return found, pieces


async def test_the_text_comes_in_pieces_before_the_answer(engine: FakeEngine):
    found, pieces = await ask(engine, inputs="ab", generation_config={"max_new_tokens": 3})
    assert len(pieces) == 3
    assert "".join(pieces) == found["generated_text"]
    assert json.loads(json.dumps(found)) == found
    assert engine.cancelled == []


async def test_what_no_server_takes_is_refused_in_its_words(engine: FakeEngine):
    with pytest.raises(RequestRefused, match=r"^top_k is -1; .*\ntop_p is 2; allowed: 0 <= top_p <= 1$"):
        await ask(engine, inputs="ab", generation_config={"top_p": 2, "top_k": -1})
    with pytest.raises(RequestRefused, match="max_length is 100000"):
        await ask(engine, inputs="ab", generation_config={"max_length": 100_000})
    with pytest.raises(RequestRefused, match="not valid JSON"):
        await ask(engine, inputs="a\udc80")
    assert engine.submissions == []


@pytest.mark.parametrize("error", [RequestFailed("a row was NaN"), EngineUnavailable("the process died")])
async def test_a_failure_on_the_way_is_told_as_it_is(engine: FakeEngine, error: Exception):
    engine.script = lambda submission: [*tokens_of(submission, [97], [98])[:1], error]
    with pytest.raises(RequestRefused, match=f"^{error}$"):
        await ask(engine, inputs="ab")
    engine.refusal = error
    with pytest.raises(RequestRefused, match=f"^{error}$"):
        await ask(engine, inputs="ab")


async def test_a_fault_of_our_own_is_told_without_its_insides(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "submit", lambda submission: 1 // 0)
    with pytest.raises(RequestRefused, match="the server failed on this request"):
        await ask(engine, inputs="ab")
