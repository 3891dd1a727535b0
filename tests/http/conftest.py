"""The real application in process, in front of a scripted engine."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from tokenizers import Tokenizer

from beamhouse.config.settings import Settings
from beamhouse.engine.link.messages import FinishReason, Submission, Tokens
from beamhouse.schemas.words import FinishType
from beamhouse.server.app import create_app
from tests.fakes import FakeEngine, Said, fake_info, save_byte_tokenizer
from tests.http.hermes import TEMPLATE


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """The log lines of the test."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_byte_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def encode(tokenizer_file: str) -> Callable[[str], list[int]]:
    tokenizer = Tokenizer.from_file(tokenizer_file)
    return lambda text: list(tokenizer.encode(text).ids)


@pytest.fixture
async def engine(tokenizer_file: str) -> FakeEngine:
    return FakeEngine(fake_info(tokenizer_file))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    warm = {"do_sample": True, "temperature": 1.5, "max_new_tokens": 3, "transformers_version": "5.23.0"}
    (tmp_path / "warm.json").write_text(json.dumps(warm))
    return make_settings(stored_configs=tmp_path)


def make_settings(**server: Any) -> Settings:
    return Settings(server=server)


@asynccontextmanager
async def client_of(engine: FakeEngine, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application; server errors come as answers."""
    app = create_app(engine, settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


@pytest.fixture
async def client(engine: FakeEngine, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(engine, settings) as opened:
        yield opened


@pytest.fixture
async def says(
    tokenizer_file: str, encode: Callable[[str], list[int]]
) -> Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Opens a client of a model that thinks and calls tools, and says a given text, token by token."""

    def opened(
        text: str, end: FinishReason = FinishReason(FinishType.EOS_TOKEN)
    ) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        def script(submission: Submission) -> list[Said]:
            *ids, last = encode(text)
            told: list[Said] = [Tokens(0, [token_id]) for token_id in ids]
            return [*told, Tokens(0, [last], finish_reason=end)]

        info = fake_info(tokenizer_file, chat_template=TEMPLATE, context_len=1024, reads_tools=True)
        return client_of(FakeEngine(info, script=script), make_settings())

    return opened


@pytest.fixture
async def connect(engine: FakeEngine) -> AsyncIterator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """Opens a client of an application with other server settings."""
    async with AsyncExitStack() as stack:

        async def opened(**server: Any) -> httpx.AsyncClient:
            return await stack.enter_async_context(client_of(engine, make_settings(**server)))

        yield opened
