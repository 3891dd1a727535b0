"""What is told of prompts, and prompts behind which nothing is generated."""

from typing import Any

import pytest

from tests.http.events import parse_events

pytestmark = pytest.mark.anyio


async def answered(client, **body) -> dict[str, Any]:
    response = await client.post("/generate", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_the_likeliest_tokens_of_a_prompt_come_with_their_text(client):
    answer = await answered(client, inputs=[[98, 97, 99], [98]], outputs={"prompt_top_n_tokens": 3})
    behind = [{"token_id": 64, "text": "a", "logprob": -1.0}, {"token_id": 65, "text": "b", "logprob": -2.0}]
    assert answer["prompt_top_tokens"] == [[None, behind, behind], [None]]


PROMPT_ALONE = {"prompt_only": True, "prompt_logprobs": True}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_alone_is_told_of_without_a_token_behind_it(client, engine, stream):
    body = {"inputs": [[98, 97], [99]], "outputs": PROMPT_ALONE, "generation_config": {"num_return_sequences": 2}}
    if stream:
        response = await client.post("/generate", json=body | {"stream": True})
        ((name, answer),) = parse_events(response.text)
        assert name == "done"
    else:
        answer = await answered(client, **body)
    assert [one["prompt_index"] for one in answer["sequences"]] == [0, 0, 1, 1]
    for sequence in answer["sequences"]:
        assert (sequence["token_ids"], sequence["num_tokens"], sequence["text"]) == ([], 0, "")
        assert sequence["finish_reason"] == {"type": "length"}
    assert (answer["generated_text"], answer["warnings"]) == ("", [])
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["generated_tokens"]) == (3, 0)
    assert answer["prompt_logprobs"] == [[None, -1.0], [None]]
    assert all(submission.wanted.prompt_only for submission in engine.submissions)


async def test_a_prompt_alone_may_fill_the_context(client):
    answer = await answered(client, inputs=[3] * 128, outputs=PROMPT_ALONE)
    assert (len(answer["prompt_logprobs"][0]), answer["warnings"]) == (128, [])
    refused = await client.post("/generate", json={"inputs": [3] * 129, "outputs": PROMPT_ALONE})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/inputs"


async def test_what_would_shape_new_tokens_is_warned_about_beside_a_prompt_alone(client):
    config = {"temperature": 0.5, "num_beams": 4, "top_k": 50, "bos_token_id": 7}
    answer = await answered(client, inputs=[3], generation_config=config, outputs=PROMPT_ALONE)
    named = "num_beams, temperature"
    assert answer["warnings"] == [f"outputs.prompt_only generates nothing, so that these have no effect: {named}"]
