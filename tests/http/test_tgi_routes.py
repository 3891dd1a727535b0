"""TGI's routes beside generation, and whose request a body is where protocols meet."""

from typing import Any

import pytest

from tests.fakes import fake_info
from tests.http.conftest import client_of

pytestmark = pytest.mark.anyio


async def test_a_body_with_parameters_is_tokenised_as_tgi_does(client):
    response = await client.post("/tokenize", json={"inputs": "a\u00e9", "parameters": {}})
    tokens = response.json()
    assert (tokens[0]["text"], tokens[0]["start"], tokens[0]["stop"]) == ("a", 0, 1)
    assert [(token["start"], token["stop"]) for token in tokens[1:]] == [(1, 2), (1, 2)]
    assert [token["id"] for token in tokens] == (await ours(client, "a\u00e9"))["token_ids"]
    response = await client.post("/tokenize", json={"inputs": "abc", "parameters": {"truncate": 2}})
    assert [token["text"] for token in response.json()] == ["b", "c"]


async def ours(client, text: str) -> dict[str, Any]:
    return (await client.post("/tokenize", json={"inputs": text})).json()["sequences"][0]


async def test_a_text_alone_is_tokenised_as_tgi_does_only_where_that_is_asked_for(client, connect):
    like_tgi = await connect(tgi_compat=True)
    assert (await ours(client, "ab"))["num_tokens"] == 2
    assert [token["text"] for token in (await like_tgi.post("/tokenize", json={"inputs": "ab"})).json()] == ["a", "b"]
    assert "sequences" in (await like_tgi.post("/tokenize", json={"inputs": ["ab"]})).json()


async def test_a_text_that_is_too_long_is_not_tokenised(connect):
    client = await connect(max_prompt_bytes=4)
    response = await client.post("/tokenize", json={"inputs": "a" * 5, "parameters": {}})
    assert (response.status_code, response.json()["error_type"]) == (422, "validation")


async def test_a_conversation_is_tokenised_as_its_template_writes_it(client, encode):
    body = {"model": "tgi", "messages": [{"role": "user", "content": "hi"}]}
    answer = (await client.post("/chat_tokenize", json=body)).json()
    assert answer["templated_text"] == "<user>hi" == "".join(token["text"] for token in answer["tokenize_response"])
    assert [token["id"] for token in answer["tokenize_response"]] == encode("<user>hi")


async def test_a_template_that_refuses_a_conversation_is_an_error_of_the_template(engine, settings, tokenizer_file):
    engine.info = fake_info(tokenizer_file, chat_template="{{ raise_exception('no') }}")
    async with client_of(engine, settings) as client:
        response = await client.post("/chat_tokenize", json={"messages": [{"role": "user", "content": "hi"}]})
    assert (response.status_code, response.json()["error_type"]) == (422, "template_error")


async def test_information_has_the_names_of_both(connect):
    client = await connect(max_prompts=3, max_prompt_tokens=50, max_total_tokens=100, max_sequences=2)
    info = (await client.get("/info")).json()
    assert info["model"]["name"] == info["model_id"] == "tiny/bytes"
    assert (info["max_input_tokens"], info["max_input_length"], info["max_total_tokens"]) == (50, 50, 100)
    assert (info["max_best_of"], info["max_stop_sequences"], info["max_client_batch_size"]) == (2, 64, 3)
    assert (info["model_dtype"], info["model_device_type"], info["max_concurrent_requests"]) == (
        "torch.float32",
        "cpu",
        128,
    )


async def test_a_ping_tells_whether_requests_are_answered(client, engine):
    assert (await client.get("/ping")).status_code == 200
    engine.become("weights")
    assert (await client.get("/ping")).status_code == 503


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"inputs": "ab", "parameters": {"max_new_tokens": 1}}, lambda answer: answer[0]["generated_text"]),
        ({"inputs": "ab"}, lambda answer: answer[0]["generated_text"][:1]),
        (
            {"inputs": "ab", "generation_config": {"max_new_tokens": 1}},
            lambda answer: answer["sequences"][0]["text"],
        ),
        ({"prompt": "ab", "max_tokens": 1}, lambda answer: answer["choices"][0]["text"]),
        (
            {"messages": [{"role": "user", "content": "ab"}], "max_tokens": 1},
            lambda answer: answer["choices"][0]["message"]["content"],
        ),
    ],
)
async def test_an_invocation_is_answered_as_its_body_is(client, body, found):
    response = await client.post("/invocations", json=body)
    assert response.status_code == 200, response.text
    assert found(response.json()) == "c"


async def test_an_invocation_that_is_wrong_is_refused_in_the_words_of_its_protocol(client):
    problems = [
        (await client.post("/invocations", json=body)).json()
        for body in (
            {"inputs": "ab", "parameters": {"top_k": 0}},
            {"inputs": "ab", "generation_config": {"top_k": -1}},
            {"prompt": "ab", "top_k": -2},
        )
    ]
    assert [next(iter(problem)) for problem in problems] == ["error", "type", "error"]
    assert (problems[0]["error_type"], problems[2]["error"]["param"]) == ("validation", "top_k")
