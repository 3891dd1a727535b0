"""One real server with the built-in model, for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.deploy.processes import Replica


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    replica = Replica(tmp_path_factory.mktemp("served") / "server.log", "--cache-tokens", "32768")
    replica.start()
    replica.wait_ready()
    yield replica
    replica.stop()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
