"""What is added to a prompt, and how much of it is kept."""

import pytest
from tokenizers import Tokenizer, processors

from tests.fakes import fake_info
from tests.http.problems import check_problem

pytestmark = pytest.mark.anyio
ONE = {"max_new_tokens": 1}


async def prompts(client, engine, **body) -> list[list[int]]:
    engine.submissions.clear()
    response = await client.post("/generate", json={"generation_config": ONE, **body})
    assert response.status_code == 200, response.text
    return [submission.prompt_ids for submission in engine.submissions]


async def test_of_each_prompt_the_last_tokens_are_kept(client, engine, encode):
    assert await prompts(client, engine, inputs=["abcd", "ab", "x"], truncate=3) == [
        encode("bcd"), encode("ab"), encode("x")
    ]  # fmt: skip
    assert await prompts(client, engine, inputs=[[1, 2, 3], [4]], truncate=1) == [[3], [4]]
    assert await prompts(client, engine, messages=[{"role": "user", "content": "hi"}], truncate=2) == [encode("hi")]
    assert await prompts(client, engine, inputs=None, truncate=5) == [[0]]


async def test_what_is_cut_off_counts_for_no_limit(client, engine):
    assert await prompts(client, engine, inputs=[3] * 500, truncate=100) == [[3] * 100]
    answer = (
        await client.post("/generate", json={"inputs": [3] * 500, "truncate": 100, "generation_config": ONE})
    ).json()
    assert answer["usage"]["prompt_tokens"] == 100


async def test_a_wrong_id_is_named_by_its_place_in_what_was_given(client):
    refused = await client.post("/generate", json={"inputs": [1, 2, 3, 256], "truncate": 2})
    error = check_problem(refused, 422)["errors"][0]
    assert (error["pointer"], error["message"][:16]) == ("/inputs/3", "inputs[3] is 256")


@pytest.mark.parametrize("number", [0, -1, 2**31, 1.5, True])
async def test_a_prompt_keeps_one_token_at_least(client, number):
    refused = await client.post("/generate", json={"inputs": "a", "truncate": number})
    assert check_problem(refused, 422)["errors"][0]["pointer"] == "/truncate"


@pytest.mark.parametrize(("asked", "of_text", "of_messages"), [(None, 1, 0), (True, 1, 1), (False, 0, 0)])
async def test_special_tokens_are_added_to_texts_and_on_demand_to_messages(
    client, engine, tmp_path, encode, asked, of_text, of_messages
):
    tokenizer = Tokenizer.from_file(engine.info.tokenizer_file)
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 256)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    engine.info = fake_info(str(tmp_path / "tokenizer.json"), vocab_size=257)
    body = {"add_special_tokens": asked}
    assert await prompts(client, engine, inputs=["a", "b"], **body) == [
        [256] * of_text + encode(text) for text in ("a", "b")
    ]
    messages = [{"role": "user", "content": "hi"}]
    assert await prompts(client, engine, messages=messages, **body) == [[256] * of_messages + encode("<user>hi")]


async def test_nothing_is_added_to_token_ids(client, engine):
    for inputs in ([1, 2], [[1], [2]], None):
        refused = await client.post("/generate", json={"inputs": inputs, "add_special_tokens": True})
        assert "add_special_tokens goes with" in check_problem(refused, 422)["errors"][0]["message"]
        assert await prompts(client, engine, inputs=inputs, add_special_tokens=False)
