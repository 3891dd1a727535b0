"""`copies` of a prompt, and `fill_context` in the place of a length."""

from typing import Any

import pytest

from beamhouse.engine.link.messages import Submission
from tests.fakes import FakeEngine, Said, fake_info, tokens_of
from tests.http.conftest import client_of, make_settings

pytestmark = pytest.mark.anyio


def one_token(submission: Submission) -> list[Said]:
    return tokens_of(submission, [65])


async def lengths(engine: FakeEngine, body: dict[str, Any], **server: Any) -> list[int]:
    """How long the sequences of each submission may become."""
    engine.script = one_token
    async with client_of(engine, make_settings(**server)) as client:
        response = await client.post("/generate", json=body)
    assert response.status_code == 200, response.text
    return [submission.config.max_length for submission in engine.submissions]


async def test_copies_are_submissions_of_their_own_that_draw_differently(client, engine):
    body = {"inputs": ["ab", "cde"], "copies": 2, "seed": 7, "generation_config": {"max_new_tokens": 1}}
    answer = (await client.post("/generate", json=body | {"outputs": {"prompt_logprobs": True}})).json()
    assert [submission.seed for submission in engine.submissions] == [7, 8, 7, 8]
    assert [(one["prompt_index"], one["index"]) for one in answer["sequences"]] == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert answer["usage"]["prompt_tokens"] == 5
    assert answer["usage"]["generated_tokens"] == 4
    assert [len(logprobs) for logprobs in answer["prompt_logprobs"]] == [2, 3]


async def test_the_largest_seed_has_a_next_one(client, engine):
    body = {"inputs": "ab", "copies": 2, "seed": 2**64 - 1, "generation_config": {"max_new_tokens": 1}}
    assert (await client.post("/generate", json=body)).status_code == 200
    assert [submission.seed for submission in engine.submissions] == [2**64 - 1, 0]


async def test_copies_count_as_prompts(connect):
    client = await connect(max_prompts=3)
    response = await client.post("/generate", json={"inputs": ["a", "b"], "copies": 2})
    (problem,) = response.json()["errors"]
    assert (problem["pointer"], problem["message"]) == ("/copies", "copies gives 4 prompts; allowed: at most 3")


async def test_the_context_is_filled_after_each_prompt(engine):
    assert await lengths(engine, {"inputs": ["abc", "abcdefgh"], "fill_context": True}) == [128, 128]


async def test_what_fills_the_context_fits_the_cache(tokenizer_file):
    engine = FakeEngine(fake_info(tokenizer_file, cache_tokens=320, block_size=16))
    config = {"num_beams": 4, "num_return_sequences": 1}
    # 20 blocks are 5 for each row, and 80 tokens.
    assert await lengths(engine, {"inputs": "abc", "fill_context": True, "generation_config": config}) == [80]


async def test_what_fills_the_context_stays_within_the_budget(engine):
    body = {"inputs": "abc", "fill_context": True, "outputs": {"top_n_tokens": 10}}
    (length,) = await lengths(engine, body, max_answer_bytes=40_000)
    assert length - 3 == 40_000 // (16 + 10 * 72)


async def test_a_file_of_the_model_does_not_end_what_fills_the_context(tokenizer_file):
    file = {"max_new_tokens": 5, "bos_token_id": 0}
    engine = FakeEngine(fake_info(tokenizer_file, generation_config=file))
    assert await lengths(engine, {"inputs": "abc", "fill_context": True}) == [128]


async def test_a_prompt_that_fills_the_context_alone_is_refused(client):
    response = await client.post("/generate", json={"inputs": "a" * 128, "fill_context": True})
    (problem,) = response.json()["errors"]
    assert (problem["pointer"], problem["code"]) == ("/inputs", "context_exceeded")


@pytest.mark.parametrize(("number", "length"), [(9, 12), (1000, 128)])
async def test_as_many_tokens_as_were_asked_for_and_no_more_than_there_is_room_for(engine, number, length):
    config = {"max_new_tokens": number}
    assert await lengths(engine, {"inputs": "abc", "fill_context": True, "generation_config": config}) == [length]


async def test_a_length_and_a_full_context_exclude_each_other(client):
    response = await client.post(
        "/generate", json={"inputs": "a", "fill_context": True, "generation_config": {"max_length": 9}}
    )
    (problem,) = response.json()["errors"]
    assert (problem["pointer"], problem["code"]) == ("/fill_context", "conflict")
