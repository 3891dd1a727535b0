"""The handshake of `transformers chat`."""

import json

import pytest

from beamhouse.engine.link.client import EngineStatus
from beamhouse.schemas.words import Stage
from beamhouse.server.doors.transformers.loading import say

pytestmark = pytest.mark.anyio


async def load(client):
    response = await client.post("/load_model", json={"model": "any/name"})
    assert (response.status_code, response.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    # As the client reads it, line by line.
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


async def test_a_model_that_is_there_is_ready_under_any_name(client):
    assert await load(client) == [{"status": "ready", "model": "any/name", "cached": True}]


async def test_loading_is_told_until_the_model_is_ready(client, engine):
    stages = [(Stage.DOWNLOAD, 0.5), (Stage.WEIGHTS, 0.25), (Stage.WEIGHTS, 0.25), (Stage.READY, 1.0)]

    class Loading:
        """An engine that is one look further each time."""

        def __getattr__(self, name):
            return EngineStatus(*stages.pop(0)) if name == "status" else getattr(engine, name)

    client._transport.app.state.service.client = Loading()
    assert await load(client) == [
        {"status": "loading", "model": "any/name", "stage": "download"},
        {"status": "loading", "model": "any/name", "stage": "weights", "progress": {"current": 25, "total": 100}},
        {"status": "ready", "model": "any/name", "cached": False},
    ]


async def test_a_model_that_cannot_be_loaded_is_an_error(client, engine):
    engine.status = EngineStatus(Stage.FAILED, 0.0, "no such file")
    assert await load(client) == [{"status": "error", "model": "any/name", "message": "no such file"}]


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_is_told(stage):
    assert say(EngineStatus(stage, 0.5), "m", is_first=True).status in ("loading", "ready", "error")
