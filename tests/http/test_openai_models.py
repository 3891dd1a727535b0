"""OpenAI's routes over a scripted engine: what is served."""

import pytest

from tests.fakes import FakeEngine

pytestmark = pytest.mark.anyio


async def test_the_served_model_is_listed(client):
    answer = (await client.get("/v1/models")).json()
    (card,) = answer["data"]
    assert answer["object"] == "list"
    assert card.pop("created") > 1_700_000_000
    assert card == {"id": "tiny/bytes", "object": "model", "owned_by": "beamhouse", "max_model_len": 128}


async def test_a_name_with_slashes_is_found(client):
    assert (await client.get("/v1/models/tiny/bytes")).json()["id"] == "tiny/bytes"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (
            "/v1/models/gpt-4",
            {
                "message": "there is no model gpt-4; this server serves tiny/bytes",
                "type": "not_found_error",
                "param": "model",
                "code": "model_not_found",
            },
        ),
        (
            "/v1/nothing",
            {
                "message": "there is no /v1/nothing here; GET /docs lists all routes",
                "type": "not_found_error",
                "param": None,
                "code": "not_found",
            },
        ),
    ],
)
async def test_what_there_is_not_is_told_in_the_words_of_the_protocol(client, path, error):
    response = await client.get(path)
    assert (response.status_code, response.json()) == (404, {"error": error})


async def test_before_the_model_is_loaded_there_is_none(client, engine: FakeEngine):
    engine.become("weights", 0.5)
    response = await client.get("/v1/models")
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json()["error"]["type"] == "server_error"
