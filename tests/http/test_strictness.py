"""Fields that hold what they may not: a 422, small, quick, and naming the field."""

import gc
import json
import time
from collections.abc import Iterator

import pytest

from tests.fakes import fake_info
from tests.http.problems import check_problem
from tests.http.sending import post

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"seed": True}, "/seed", "wrong_type"),
        ({"seed": "7"}, "/seed", "wrong_type"),
        ({"seed": 7.0}, "/seed", "wrong_type"),
        ({"seed": 2**64 - 0}, "/seed", "wrong_type"),
        ({"seed": [1]}, "/seed", "out_of_range"),
        ({"seed": [1, 2], "prng_key": [1, 2]}, "", "conflict"),
        ({"prng_key": [1, 2**32]}, "/prng_key/1", "out_of_range"),
        ({"inputs": 5}, "/inputs", "wrong_type"),
        ({"inputs": [1, "a"]}, "/inputs/1", "wrong_type"),
        ({"inputs": ["a", 1]}, "/inputs/1", "wrong_type"),
        ({"inputs": [[1], [-1]]}, "/inputs/1/0", "out_of_range"),
        ({"inputs": [[1], []]}, "/inputs/1", "empty"),
        ({"inputs": []}, "/inputs", "empty"),
        ({"inputs": ""}, "/inputs", "empty"),
        ({"inputs": [1, 256]}, "/inputs/1", "out_of_range"),
        ({"inputs": [3] * 128}, "/inputs", "context_exceeded"),
        ({"inputs": "a", "messages": [{"role": "user", "content": "b"}]}, "", "conflict"),
        ({"messages": [{"role": "user"}]}, "/messages/0", "conflict"),
        ({"inputs": "a", "mode": "argmax"}, "/mode", "out_of_range"),
        ({"inputs": "a", "mode": "sample"}, "/mode", "conflict"),
        ({"inputs": "a", "top_p": 0.5}, "/top_p", "unknown_field"),
        ({"inputs": "a", "generation_config": {"top_p": 1.5}}, "/generation_config/top_p", "out_of_range"),
        ({"inputs": "a", "generation_config": {"top_k": 1.5}}, "/generation_config/top_k", "wrong_type"),
        ({"inputs": "a", "generation_config": {"topp": 1}}, "/generation_config/topp", "unknown_field"),
        (
            {"inputs": "a", "generation_config": {"eos_token_id": 256}},
            "/generation_config/eos_token_id",
            "out_of_range",
        ),
        (
            {"inputs": "a", "generation_config": {"stop_strings": [1]}},
            "/generation_config/stop_strings/0",
            "wrong_type",
        ),
        ({"inputs": "a", "generation_config": "nobody"}, "/generation_config", "unknown_name"),
        ({"inputs": "a", "generation_config": "../../etc/passwd"}, "/generation_config", "unknown_name"),
        ({"inputs": "a", "outputs": {"tensors": "pickle"}}, "/outputs/tensors", "out_of_range"),
        ({"inputs": "a", "outputs": {"layers": [0, 3]}}, "/outputs/layers/1", "out_of_range"),
        ({"inputs": "a", "prefix_allowed_tokens": {}}, "/prefix_allowed_tokens", "conflict"),
        ({"inputs": "a", "prefix_allowed_tokens": {"trie": "x"}}, "/prefix_allowed_tokens/trie", "unknown_name"),
        (
            {"inputs": "a", "prefix_allowed_tokens": {"token_ids": [300]}},
            "/prefix_allowed_tokens/token_ids/0",
            "out_of_range",
        ),
        ({"inputs": "a", "logits_processor": [{"name": "x"}]}, "/logits_processor/0/name", "unknown_name"),
        ({"inputs": "a", "a~b/c": 1}, "/a~0b~1c", "unknown_field"),
        ({"inputs": ["a"] * 33}, "/inputs", "out_of_range"),
    ],
)
async def test_a_wrong_field_is_named(client, engine, body, pointer, code):
    problem = check_problem(await client.post("/generate", json=body), 422)
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in problem["errors"]}, problem
    assert engine.submissions == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"adapter": "x"}, "/adapter"),
        ({"decoder_inputs": "x"}, "/decoder_inputs"),
        ({"inputs": {"audio": ""}}, "/inputs"),
        ({"generation_config": {"use_mtp": True}}, "/generation_config/use_mtp"),
        ({"generation_config": {"speculation_type": "dflash"}}, "/generation_config/speculation_type"),
        ({"generation_config": {"forced_decoder_ids": [[1, 2]]}}, "/generation_config/forced_decoder_ids"),
    ],
)
async def test_what_is_left_to_later_versions_is_refused_by_name(client, body, pointer):
    problem = check_problem(await client.post("/generate", json={"inputs": "a", **body}), 422)
    assert problem["code"] == "not_supported"
    assert [(error["pointer"], error["code"]) for error in problem["errors"]] == [(pointer, "not_supported")]
    assert "not supported" in problem["detail"]


async def test_a_mode_that_is_missing_is_refused_by_the_field_that_asks_for_it(connect, engine, tokenizer_file):
    engine.info = fake_info(tokenizer_file, modes=["greedy_search", "sample"])
    client = await connect()
    for config, field in (({"num_beams": 4}, "num_beams"), ({"penalty_alpha": 0.5, "top_k": 4}, "penalty_alpha")):
        problem = check_problem(await client.post("/generate", json={"inputs": "a", "generation_config": config}), 422)
        assert [error["pointer"] for error in problem["errors"]] == [f"/generation_config/{field}"]
        assert problem["code"] == "not_supported"


async def test_neutral_values_of_unsupported_fields_ask_for_nothing(client):
    config = {"num_beams": 1, "use_mtp": False, "guidance_scale": 1.0, "max_new_tokens": 1}
    assert (await client.post("/generate", json={"inputs": "a", "generation_config": config})).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"generation_config": {"top_p": 1.5}}, "top_p is 1.5; allowed: 0 <= top_p <= 1"),
        (
            {"generation_config": {"use_mtp": True}},
            "use_mtp is not supported: this needs layers that draft, which no served model has",
        ),
        ({"generation_config": {"tempurature": 1}}, "tempurature is not a field; did you mean temperature?"),
        ({"top_k": 5}, "top_k is not a field of the body; did you mean generation_config.top_k?"),
        ({"seed": "7"}, 'seed is "7"; expected an integer'),
        ({"messages": [{"content": "a"}]}, "role is missing"),
        ({"outputs": []}, "outputs is a list of 0; expected an object"),
        ({"logits_processor": ["x"]}, 'logits_processor[0] is "x"; expected an object'),
        ({"generation_config": {"stop_strings": []}}, "stop_strings has 0 items; allowed: 1 to 64"),
        ({"outputs": {"positions": [2, 0, 2]}}, "2 is given 2 times; give each number once"),
        ({"outputs": {"layers": [-1, -1]}}, "-1 is given 2 times; give each number once"),
        ({"seed": [1]}, "seed has 1 items; allowed: 2"),
        ({"outputs": {"tensors": "x" * 100}}, f'tensors is "{"x" * 64}…"; allowed: "json", "base64", "safetensors"'),
    ],
)
async def test_messages_say_what_was_given_and_what_is_allowed(client, body, message):
    problem = check_problem(await client.post("/generate", json=body), 422)
    assert [error["message"] for error in problem["errors"]] == [message]


async def test_numbers_are_numbers(client):
    config = {"temperature": 2, "do_sample": True, "max_new_tokens": 1}
    assert (await client.post("/generate", json={"inputs": "a", "generation_config": config})).status_code == 200


@pytest.fixture
def only_new_objects() -> Iterator[None]:
    """What all the tests before left in memory is not gone through when garbage is looked for."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [1.5] * 100_000},
        {"inputs": ["a", *[1] * 100_000]},
        {"inputs": [[1.5]] * 100_000},
        {f"key{index}": 1 for index in range(100_000)},
        {f"key{index}": 1 for index in range(200)},
        {"x" * 100_000: 1},
        {"inputs": "a", "generation_config": {"stop_strings": [1] * 100_000}},
        {"inputs": "a", "generation_config": {"bad_words_ids": [[-1]] * 100_000}},
        {"inputs": "a", "logits_processor": [{"name": 1}] * 50_000},
        {"inputs": "a", "messages": [{}] * 50_000},
        {"seed": [1.5] * 100_000},
        {"inputs": "a", "generation_config": {"watermarking_config": {f"k{n}": 1 for n in range(250)}}},
    ],
)
async def test_a_mass_of_errors_makes_a_small_answer_quickly(client, body, only_new_objects):
    content = json.dumps(body).encode()
    started = time.process_time()
    response = await post(client, content)
    assert time.process_time() - started < 1.0
    check_problem(response, 422)


async def test_long_values_are_not_echoed(client):
    response = await client.post("/generate", json={"mode": "SECRET" * 1000})
    check_problem(response, 422)
    assert response.text.count("SECRET") <= 24


async def test_a_prompt_over_the_limit_is_refused_before_it_is_tokenised(connect):
    client = await connect(max_prompt_bytes=10)
    problem = check_problem(await client.post("/generate", json={"inputs": ["a", "€" * 4]}), 422)
    assert problem["errors"][0]["pointer"] == "/inputs/1"


@pytest.mark.parametrize("at_fault", [True, "7", 7.0, -1, 2**31, None, [5]])
async def test_a_large_body_is_refused_in_the_words_of_a_small_one(client, engine, at_fault):
    told = []
    for length in (60, 100_000):
        body = json.dumps({"inputs": "a", "generation_config": {"suppress_tokens": [7] * length + [at_fault]}})
        (error,) = check_problem(await post(client, body.encode()), 422)["errors"]
        told.append([error[part].replace(str(length), "n") for part in ("code", "message", "pointer")])
    assert told[0] == told[1]
    assert engine.submissions == []
