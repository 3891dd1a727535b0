"""What TGI's routes say of requests that cannot be answered, also inside of streams, and whose request a body is."""

import pytest

from beamhouse.engine.link.errors import BatchFailed, EngineUnavailable, QueueFull, RequestFailed
from tests.fakes import fake_info, tokens_of
from tests.http.tgi import stream

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("error", "status", "kind", "beginning"),
    [
        (QueueFull("full"), 429, "overloaded", "Model is overloaded"),
        (EngineUnavailable("loading"), 503, "overloaded", "Model is not available"),
    ],
)
async def test_a_refusal_has_a_type_of_its_own(client, engine, error, status, kind, beginning):
    engine.refusal = error
    response = await client.post("/generate", json={"inputs": "ab", "parameters": {"max_new_tokens": 1}})
    assert (response.status_code, response.json()["error_type"]) == (status, kind)
    assert response.json()["error"].startswith(beginning)
    assert int(response.headers["retry-after"]) >= 1
    assert [event["error_type"] for event in await stream(client, {"max_new_tokens": 1})] == [kind]


@pytest.mark.parametrize("error", [RequestFailed("no"), BatchFailed("no")])
async def test_a_fault_while_it_runs_is_one_of_generation(client, engine, error):
    engine.script = lambda submission: [*tokens_of(submission, [66], [67])[:1], error]
    response = await client.post("/generate", json={"inputs": "ab", "parameters": {"max_new_tokens": 2}})
    assert (response.status_code, response.json()["error_type"]) == (424, "generation")
    events = await stream(client, {"max_new_tokens": 2})
    assert [event.get("error_type") for event in events] == [None, "generation"]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"nonsense": 1}, "nonsense is not a field"),
        ({"outputs": {"nonsense": 1}}, "outputs.nonsense: nonsense is not a field"),
        ({"grammar": {"type": "regex"}}, "grammar.value: value is missing"),
        ({"assistant_model": "nobody"}, "assistant_model: nobody is not registered"),
        ({"adapter_id": "lora"}, "adapter_id"),
        ({"best_of": 2}, "best_of above 1"),
        ({"max_new_tokens": 4000}, "max_new_tokens is 4000"),
        ({"stop": ["a"] * 65}, "stop has 65 items"),
        ({"watermark": True}, "tgi_watermark"),
        ({"prefix_allowed_tokens": {"trie": "titles"}}, "titles"),
    ],
)
async def test_what_cannot_be_obeyed_is_refused_by_name_in_the_stream_too(client, engine, parameters, named):
    body = {"inputs": "ab", "parameters": parameters}
    for path in ("/generate", "/"):
        response = await client.post(path, json=body)
        assert response.status_code == 422, response.text
        assert response.json().keys() == {"error", "error_type"}
        assert response.json()["error_type"] == "validation"
        assert response.json()["error"].startswith("Input validation error: ")
        assert named in response.json()["error"]
    expected = response.json()
    assert await stream(client, parameters) == [expected]
    assert await stream(client, parameters, "/", stream=True) == [expected]
    assert engine.submissions == []


async def test_a_body_that_is_no_json_is_refused_in_the_words_of_the_route(client):
    for path in ("/", "/generate_stream"):
        response = await client.post(path, content=b"{", headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["error_type"]) == (400, "validation")
    assert "error_type" not in (await client.get("/nowhere")).json()


async def test_only_parameters_make_a_body_of_our_route_one_of_tgi(client):
    ours = (await client.post("/generate", json={"inputs": "ab", "parameters": None, "stream": False})).json()
    assert ours["sequences"][0]["text"]
    assert (await client.post("/generate", json={"inputs": "ab", "temperature": 2})).json()["code"] == "invalid_request"


async def test_a_large_body_is_told_apart_as_well(client, engine):
    long = "a" * 20_000
    engine.info = fake_info(engine.info.tokenizer_file, context_len=40_000, cache_tokens=80_000)
    body = {"inputs": long, "parameters": {"max_new_tokens": 1}}
    assert (await client.post("/generate", json=body)).json() == {"generated_text": "b"}
    native = {"inputs": long, "generation_config": {"max_new_tokens": 1}}
    assert (await client.post("/generate", json=native)).json()["generated_text"] == "b"
    bad = {"inputs": long, "parameters": {"temperature": 0}}
    assert (await client.post("/generate", json=bad)).json()["error_type"] == "validation"


async def test_a_route_that_streams_cannot_be_asked_not_to(client):
    (event,) = await stream(client, {}, stream=False)
    assert "stream is false; allowed: true" in event["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"inputs": "a", "parameters": {"truncate": 0}, "stream": True}),
        ("/chat_tokenize", {"messages": [{"role": "user", "content": "a"}], "max_tokens": "b", "stream": True}),
    ],
)
async def test_where_nothing_streams_no_problem_does(client, path, body):
    response = await client.post(path, json=body)
    assert (response.status_code, response.headers["content-type"]) == (422, "application/json")
    assert response.json()["error_type"] == "validation"
