"""One real server with the built-in model, which all clients of this folder talk to."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.processes import Replica

GREEN: dict[str, Any] = {"greenlist_ratio": 0.5, "bias": 4.0}
MARK = ("--tgi-watermark", json.dumps(GREEN))
"""What `watermark` of TGI's clients means here."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    replica = Replica(tmp_path_factory.mktemp("clients") / "server.log", "--cache-tokens", "32768", *MARK)
    replica.start()
    try:
        replica.wait_ready()
        yield replica
    finally:
        replica.stop()
