"""Errors that are not about the body: routes, faults of our own code, request ids."""

import pytest

from tests.http.events import parse_events
from tests.http.problems import check_problem

pytestmark = pytest.mark.anyio


async def test_routes_and_methods_that_do_not_exist_are_problems_too(client):
    check_problem(await client.get("/nowhere"), 404)
    check_problem(await client.post("/generate/", json={}), 404)
    response = await client.get("/generate")
    check_problem(response, 405)
    assert response.headers["allow"] == "OPTIONS, POST"
    assert response.json()["detail"] == "/generate does not take GET; allowed: POST; GET /docs lists all routes"


async def test_a_fault_of_our_own_is_a_problem_without_its_insides(client, engine):
    def script(_):
        raise ZeroDivisionError("secret")

    engine.script = script
    response = await client.post("/generate", json={"inputs": [3]})
    assert check_problem(response, 500)["code"] == "internal_error"
    assert "secret" not in response.text


async def test_a_fault_of_our_own_still_ends_a_stream_with_an_event(client, engine):
    def script(_):
        raise ZeroDivisionError("secret")

    engine.script = script
    response = await client.post("/generate", json={"inputs": [3], "stream": True})
    ((name, problem),) = parse_events(response.text)
    assert (name, problem["code"]) == ("error", "internal_error")


async def test_a_crash_outside_of_a_run_is_a_problem(client, monkeypatch):
    monkeypatch.setattr("beamhouse.server.doors.operations.info.version", lambda: 1 / 0)
    check_problem(await client.get("/info"), 500)


async def test_a_request_id_is_echoed_if_it_is_a_plain_word(client):
    kept = await client.get("/health", headers={"x-request-id": "trace-1.2"})
    replaced = await client.get("/health", headers={"x-request-id": "a b\x7f" + "c" * 500})
    assert kept.headers["x-request-id"] == "trace-1.2"
    assert len(replaced.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("pointer", "body"),
    [
        ("/outputs/top_n_tokens", {"outputs": {"top_n_tokens": 5}, "generation_config": {"max_new_tokens": 40}}),
        ("/force_words", {"force_words": ["ab"] * 12, "generation_config": {"num_beams": 4}}),
        ("/generation_config/sequence_bias", {"generation_config": {"sequence_bias": [[[5, 6], 1.0]] * 20}}),
    ],
)
async def test_what_costs_more_than_one_request_may_is_refused_by_its_field(connect, engine, pointer, body):
    client = await connect(max_answer_bytes=10_000, max_build_items=50, max_step_ms=1)
    response = await client.post("/generate", json={"inputs": [3], **body})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)
    assert "; allowed: at most " in response.json()["errors"][0]["message"]
    assert engine.submissions == []
