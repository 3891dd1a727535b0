"""Negative prompts and forced words: from text, ids and masks to what the engine is given."""

import pytest

from tests.fakes import fake_info
from tests.http.problems import check_problem

pytestmark = pytest.mark.anyio

GUIDED = {"guidance_scale": 1.5, "max_new_tokens": 2}


async def generate(client, **body):
    response = await client.post("/generate", json={"inputs": [[3], [4]], "generation_config": GUIDED, **body})
    assert response.status_code == 200, response.text
    return response.json()


def negatives(engine):
    return [(item.negative_prompt_ids, item.num_negative_masked) for item in engine.submissions]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [(None, 0), (None, 0)]),
        ({"negative_prompt_ids": [5, 6]}, [([5, 6], 0), ([5, 6], 0)]),
        ({"negative_prompt_ids": [[5, 6], [7]]}, [([5, 6], 0), ([7], 0)]),
        (
            {"negative_prompt_ids": [0, 0, 6], "negative_prompt_attention_mask": [0, 0, 1]},
            [([6], 2), ([6], 2)],
        ),
        (
            {"negative_prompt_ids": [[0, 6], [7, 8]], "negative_prompt_attention_mask": [[0, 1], [1, 1]]},
            [([6], 1), ([7, 8], 0)],
        ),
    ],
)
async def test_negative_ids_reach_the_engine_without_their_padding(client, engine, body, expected):
    await generate(client, **body)
    assert negatives(engine) == expected


async def test_negative_texts_are_tokenised_as_prompts_are(client, engine, encode):
    await generate(client, negative_prompt="bad")
    await generate(client, negative_prompt=["bad", "worse"])
    bad, worse = (encode("bad"), 0), (encode("worse"), 0)
    assert negatives(engine) == [bad, bad, bad, worse]


async def test_a_healed_prompt_keeps_its_negative_prompt(client, engine, encode):
    config = GUIDED | {"token_healing": True}
    await generate(client, inputs="ab", negative_prompt="bad", generation_config=config)
    assert engine.submissions[-1].negative_prompt_ids == encode("bad")


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"negative_prompt": "a", "negative_prompt_ids": [5]}, "", "conflict"),
        ({"negative_prompt": ""}, "/negative_prompt", "empty"),
        ({"negative_prompt": ["a", ""]}, "/negative_prompt/1", "empty"),
        ({"negative_prompt": ["a"]}, "/negative_prompt", "conflict"),
        ({"negative_prompt": [1]}, "/negative_prompt/0", "wrong_type"),
        ({"negative_prompt": 5}, "/negative_prompt", "wrong_type"),
        ({"negative_prompt_ids": "a"}, "/negative_prompt_ids", "wrong_type"),
        ({"negative_prompt_ids": []}, "/negative_prompt_ids", "empty"),
        ({"negative_prompt_ids": [[5], []]}, "/negative_prompt_ids/1", "empty"),
        ({"negative_prompt_ids": [[5], [6], [7]]}, "/negative_prompt_ids", "conflict"),
        ({"negative_prompt_ids": [5, 256]}, "/negative_prompt_ids/1", "out_of_range"),
        ({"negative_prompt_ids": [[5], [6, 256]]}, "/negative_prompt_ids/1/1", "out_of_range"),
        ({"negative_prompt_ids": [5] * 127}, "/negative_prompt_ids", "out_of_range"),
        ({"negative_prompt": "a" * 127}, "/negative_prompt", "out_of_range"),
    ],
)
async def test_a_wrong_negative_prompt_is_named(client, engine, body, pointer, code):
    response = await client.post("/generate", json={"inputs": [[3], [4]], "generation_config": GUIDED, **body})
    problem = check_problem(response, 422)
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in problem["errors"]}, problem
    assert engine.submissions == []


MASK = "/negative_prompt_attention_mask"


@pytest.mark.parametrize(
    ("ids", "mask", "pointer", "code"),
    [
        (None, [1], MASK, "conflict"),
        ([5, 6], [1], MASK, "conflict"),
        ([5, 6], [[1, 1]], MASK, "conflict"),
        ([[5], [6]], [1], MASK, "conflict"),
        ([[5], [6]], [[1]], MASK, "conflict"),
        ([[5], [6, 7]], [[1], [1]], f"{MASK}/1", "conflict"),
        ([5, 6], [0, 0], MASK, "conflict"),
        ([5, 6, 7], [1, 0, 1], f"{MASK}/1", "conflict"),
        ([5, 6, 7], [0, 1, 0], f"{MASK}/2", "conflict"),
        ([[5], [6, 7]], [[1], [1, 0]], f"{MASK}/1/1", "conflict"),
        ([5, 6], [0, 2], f"{MASK}/1", "out_of_range"),
        ([5, 6], [False, True], f"{MASK}/0", "wrong_type"),
    ],
)
async def test_a_wrong_mask_is_named(client, ids, mask, pointer, code):
    body = {"negative_prompt_ids": ids, "negative_prompt_attention_mask": mask}
    response = await client.post("/generate", json={"inputs": [[3], [4]], "generation_config": GUIDED, **body})
    problem = check_problem(response, 422)
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in problem["errors"]}, problem


async def test_a_mask_does_not_go_with_a_text(client):
    body = {"negative_prompt": "a", "negative_prompt_attention_mask": [1]}
    problem = check_problem(await client.post("/generate", json={"inputs": [3], **body}), 422)
    assert [error["pointer"] for error in problem["errors"]] == [MASK]


@pytest.mark.parametrize("scale", [{}, {"guidance_scale": 1.0}])
@pytest.mark.parametrize("body", [{"negative_prompt": "a"}, {"negative_prompt_ids": [[5], [6]]}])
async def test_a_negative_prompt_without_guidance_would_be_ignored_and_is_refused(client, scale, body):
    response = await client.post("/generate", json={"inputs": [[3], [4]], "generation_config": scale, **body})
    problem = check_problem(response, 422)
    (error,) = problem["errors"]
    assert (error["pointer"], error["code"]) == (f"/{next(iter(body))}", "conflict")


async def test_words_are_forced_as_they_stand_inside_a_text(client, engine, encode):
    config = {"num_beams": 2, "max_new_tokens": 2, "force_words_ids": [[9]]}
    await generate(client, generation_config=config, force_words=["cat", " dog", ["a", "\nb"]])
    assert engine.submissions[0].config.force_words_ids == [
        [9],
        encode(" cat"),
        encode(" dog"),
        [encode(" a"), encode("\nb")],
    ]


async def test_a_tokenizer_that_puts_the_space_itself_gets_no_second_one(connect, engine, tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab={"▁": 0, "c": 1, "▁c": 2}, merges=[("▁", "c")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    engine.info = fake_info(str(tmp_path / "tokenizer.json"))
    await generate(await connect(), generation_config={"num_beams": 2}, force_words=["c"])
    assert engine.submissions[0].config.force_words_ids == [[2]]


@pytest.mark.parametrize(
    ("words", "pointer", "code"),
    [
        ("cat", "/force_words", "wrong_type"),
        ([], "/force_words", "out_of_range"),
        ([""], "/force_words/0", "out_of_range"),
        ([[]], "/force_words/0", "out_of_range"),
        ([["a", 1]], "/force_words/0/1", "wrong_type"),
        ([5], "/force_words/0", "wrong_type"),
        (["a"] * 257, "/force_words", "out_of_range"),
        (["a" * 1024], "/force_words/0", "too_long"),
        (["a"] * 256, "/force_words", "out_of_range"),
    ],
)
async def test_wrong_words_are_named(client, engine, words, pointer, code):
    config = {"num_beams": 2, "force_words_ids": [[9]]}
    response = await client.post("/generate", json={"inputs": [3], "generation_config": config, "force_words": words})
    problem = check_problem(response, 422)
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in problem["errors"]}, problem
    assert engine.submissions == []


async def test_words_and_negative_texts_need_a_tokenizer(connect, engine):
    engine.info = fake_info(None)
    client = await connect()
    for body in ({"force_words": ["a"]}, {"negative_prompt": "a"}):
        problem = check_problem(await client.post("/generate", json={"inputs": [3], **body}), 422)
        assert [error["code"] for error in problem["errors"]] == ["no_tokenizer"]
        assert problem["errors"][0]["pointer"] == f"/{next(iter(body))}"
