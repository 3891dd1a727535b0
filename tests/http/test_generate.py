"""`POST /generate` as one answer: prompts, configuration, seeds, outputs."""

import json
from typing import Any

import pytest

from beamhouse.engine.link.errors import BatchFailed, DeadlinePassed, EngineUnavailable, QueueFull, RequestFailed
from beamhouse.engine.link.messages import Constraint, Named
from tests.fakes import FakeEngine, fake_info, tokens_of
from tests.http.conftest import client_of

pytestmark = pytest.mark.anyio


async def generate(client, **body) -> dict[str, Any]:
    response = await client.post("/generate", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_an_answer_holds_exactly_what_the_contract_names(client, encode):
    answer = await generate(client, inputs="ab", generation_config={"max_new_tokens": 2})
    (sequence,) = answer.pop("sequences")
    assert answer.pop("id").startswith("gen-")
    assert answer == {
        "model": "tiny/bytes",
        "mode": "greedy_search",
        "generated_text": "cd",
        "usage": {
            "prompt_tokens": 2,
            "generated_tokens": 2,
            "cached_prompt_tokens": 1,
            "drafted_tokens": 0,
            "accepted_tokens": 0,
        },
        "timings": {"queue_s": 0.25, "prefill_s": 0.5, "decode_s": 1.0, "total_s": 1.75},
        "warnings": [],
    }
    assert sequence == {
        "prompt_index": 0,
        "index": 0,
        "text": "cd",
        "token_ids": encode("cd"),
        "num_tokens": 2,
        "finish_reason": {"type": "length"},
    }


async def test_inputs_may_be_text_texts_ids_or_lists_of_ids(client, engine, encode):
    for inputs, expected in (
        ("ab", [encode("ab")]),
        (["ab", "c"], [encode("ab"), encode("c")]),
        ([7, 8], [[7, 8]]),
        ([[7], [8, 9]], [[7], [8, 9]]),
    ):
        engine.submissions.clear()
        await generate(client, inputs=inputs, generation_config={"max_new_tokens": 1})
        assert [submission.prompt_ids for submission in engine.submissions] == expected


async def test_without_a_prompt_generation_starts_from_the_start_token(client, engine):
    await generate(client, inputs=None)
    await generate(client, generation_config={"bos_token_id": 9})
    assert [submission.prompt_ids for submission in engine.submissions] == [[0], [9]]


async def test_messages_go_through_the_chat_template(client, engine, encode):
    await generate(client, messages=[{"role": "user", "content": "hi"}], generation_config={"max_new_tokens": 1})
    assert engine.submissions[0].prompt_ids == encode("<user>hi")


async def test_several_prompts_are_submissions_of_one_and_their_rows_are_adjacent(client, engine):
    config = {"max_new_tokens": 2, "do_sample": True, "num_return_sequences": 2}
    answer = await generate(client, inputs=[[10], [20]], generation_config=config, seed=5)
    assert [(item["prompt_index"], item["index"]) for item in answer["sequences"]] == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert [item["token_ids"] for item in answer["sequences"]] == [[11, 12], [12, 13], [21, 22], [22, 23]]
    assert [submission.seed for submission in engine.submissions] == [5, 5]
    assert answer["usage"]["prompt_tokens"] == 2
    assert answer["usage"]["generated_tokens"] == 8


async def test_the_content_of_a_library_file_can_be_sent_as_it_is(client, engine):
    content = {"max_new_tokens": 3, "transformers_version": "5.23.0", "_from_model_config": True}
    for form in (content, json.dumps(content)):
        answer = await generate(client, inputs="ab", generation_config=form)
        assert "transformers_version" not in engine.submissions[-1].config
        assert [text.split()[0] for text in answer["warnings"]] == ["_from_model_config", "transformers_version"]
    assert (await generate(client, inputs="ab", generation_config="warm"))["warnings"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("transformers_version", 5),
        ("transformers_version", "greedy"),
        ("_from_model_config", "yes"),
        ("_mask_length", 3),
    ],
)
async def test_an_origin_that_no_library_wrote_is_refused_by_name(client, engine, name, value):
    response = await client.post("/generate", json={"inputs": "ab", "generation_config": {name: value}})
    assert response.status_code == 422
    assert [problem["pointer"] for problem in response.json()["errors"]] == [f"/generation_config/{name}"]
    assert engine.submissions == []


async def test_request_wins_over_model_file_over_library(connect, engine, tokenizer_file):
    engine.info = fake_info(tokenizer_file, generation_config={"temperature": 0.5, "top_k": 7, "eos_token_id": 1})
    client = await connect()
    body = {"inputs": [3], "generation_config": {"do_sample": True, "top_k": 9}, "outputs": {"config": True}}
    answer = await generate(client, **body)
    config = engine.submissions[0].config
    assert (config.temperature, config.top_k, config.top_p, config.max_length) == (0.5, 9, 1.0, 21)
    assert answer["generation_config"]["top_k"] == 9
    assert answer["mode"] == "sample"


async def test_a_configuration_may_be_json_text_or_a_stored_name(client, engine):
    await generate(client, inputs=[3], generation_config='{"max_new_tokens": 4}')
    await generate(client, inputs=[3], generation_config="warm")
    assert [submission.config.max_length for submission in engine.submissions] == [5, 4]
    assert engine.submissions[1].config.temperature == 1.5


async def test_everything_asked_reaches_the_engine(client, engine):
    await generate(
        client,
        inputs=[3],
        generation_config={"max_new_tokens": 1},
        prefix_allowed_tokens={"trie": "cities"},
        logits_processor=[{"name": "no_repeat_words", "args": {"size": 2}}],
        stopping_criteria=[{"name": "at_newline"}],
        priority=3,
        deadline_s=9,
        cache_salt="team",
        outputs={"positions": [0], "layers": [-1]},
    )
    submission = engine.submissions[0]
    assert submission.constraint == Constraint(trie="cities")
    assert submission.logits_processor == [Named("no_repeat_words", {"size": 2})]
    assert submission.stopping_criteria == [Named("at_newline", {})]
    assert (submission.priority, submission.deadline_s, submission.cache_salt) == (3, 9, "team")
    assert (submission.wanted.positions, submission.wanted.layers) == ([0], [-1])


async def test_null_equals_absent(client, engine):
    names = ("mode", "seed", "messages", "outputs", "stream", "adapter", "assistant_model", "parameters", "priority")
    await generate(client, inputs=[3], generation_config={"top_p": None}, **dict.fromkeys(names))
    assert engine.submissions[0].seed is None


async def test_a_pair_of_seeds_is_mixed_into_32_bits_and_the_key_spelling_is_the_same(client, engine):
    await generate(client, inputs=[3], seed=[1, 2])
    await generate(client, inputs=[3], prng_key=[1, 2])
    await generate(client, inputs=[3], seed=[2, 1])
    await generate(client, inputs=[3], seed=-(2**63))
    first, second, swapped, plain = [submission.seed for submission in engine.submissions]
    assert first == second != swapped
    assert 0 <= first < 2**32
    assert plain == -(2**63)


async def test_scores_and_alternatives_come_if_asked(client):
    outputs = {"transition_scores": {"normalize_logits": False}, "top_n_tokens": 2, "prompt_logprobs": True}
    answer = await generate(client, inputs=[98, 97], generation_config={"max_new_tokens": 2}, outputs=outputs)
    (sequence,) = answer["sequences"]
    assert sequence["transition_scores"] == [-0.5, -1.5]
    assert [top["token_id"] for top in sequence["top_tokens"][0]] == [98, 99]
    assert sequence["top_tokens"][0][1]["logprob"] is None
    assert answer["prompt_logprobs"] == [[None, -1.0]]


async def test_scores_may_be_told_from_the_logits(client, engine):
    for logprobs in ("raw", "processed", None):
        await generate(client, inputs=[3], outputs={"transition_scores": True, "logprobs": logprobs})
    assert [submission.wanted.raw for submission in engine.submissions] == [True, False, False]
    refused = await client.post("/generate", json={"inputs": [3], "outputs": {"logprobs": "cooked"}})
    assert refused.status_code == 422
    answer = await generate(client, inputs=[3], outputs={"logprobs": "raw"})
    assert answer["warnings"] == ["without transition_scores and top_n_tokens outputs.logprobs has no effect"]


async def test_fields_without_effect_are_warned_about(client):
    answer = await generate(client, inputs=[3], generation_config={"temperature": 0.5}, outputs={"layers": [0]})
    assert any("temperature" in warning for warning in answer["warnings"])
    assert any("outputs.layers" in warning for warning in answer["warnings"])


async def test_a_field_of_the_model_file_that_cannot_be_obeyed_is_warned_about(connect, engine, tokenizer_file):
    file = {"disable_compile": True, "is_assistant": False, "bos_token_id": 0}
    engine.info = fake_info(tokenizer_file, generation_config=file)
    answer = await generate(await connect(), inputs=[3])
    assert answer["warnings"] == [
        "disable_compile of the model's generation_config.json has no effect: nothing is compiled"
    ]


async def test_a_healed_prompt_takes_two_submissions(client, engine, encode, tokenizer_file):
    engine.script = lambda submission: (
        tokens_of(submission, encode("Z")) if submission.request_id.endswith("heal") else tokens_of(submission, [5])
    )
    answer = await generate(client, inputs="ab", generation_config={"token_healing": True, "max_new_tokens": 1})
    assert answer["sequences"][0]["token_ids"] == [5]
    assert all(not submission.config.token_healing for submission in engine.submissions)
    assert engine.submissions[-1].config.max_length == len(engine.submissions[-1].prompt_ids) + 1


async def test_what_is_refused_is_not_healed_first(client, engine):
    config = {"token_healing": True, "max_length": 100_000}
    assert (await client.post("/generate", json={"inputs": "ab", "generation_config": config})).status_code == 422
    assert engine.submissions == []


async def test_a_model_without_tokenizer_takes_ids_and_answers_without_text(connect, engine):
    engine.info = fake_info(None)
    client = await connect()
    answer = await generate(client, inputs=[3], generation_config={"max_new_tokens": 1})
    assert "generated_text" not in answer
    assert "text" not in answer["sequences"][0]
    assert (await client.post("/generate", json={"inputs": "a"})).status_code == 422


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RequestFailed("a row was NaN"), (500, "request_failed", False)),
        (BatchFailed("out of memory"), (500, "batch_failed", True)),
        (EngineUnavailable("died"), (503, "engine_unavailable", True)),
        (QueueFull("full"), (429, "queue_full", True)),
        (DeadlinePassed("late"), (504, "deadline_passed", True)),
    ],
)
@pytest.mark.parametrize("at_submission", [True, False])
async def test_faults_of_the_engine_have_one_status_each(client, engine, error, told, at_submission):
    if at_submission:
        engine.refusal = error
    else:
        engine.script = lambda submission: [*tokens_of(submission, [5], [6])[:1], error]
    response = await client.post("/generate", json={"inputs": [3]})
    problem = response.json()
    assert response.status_code == told[0]
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["code"], problem["retryable"]) == told
    assert problem["request_id"] == response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (told[0] in (429, 503))


async def test_one_failed_prompt_cancels_the_others(client, engine):
    def script(submission):
        return [RequestFailed("no token left")] if submission.prompt_ids == [4] else tokens_of(submission, [5], [6])

    engine.script = script
    response = await client.post("/generate", json={"inputs": [[3], [4]]})
    assert response.status_code == 500
    assert engine.cancelled == [engine.submissions[0].request_id]


async def test_a_request_is_two_log_lines_without_its_text(client, logs):
    answer = await generate(client, inputs="SECRET", generation_config={"max_new_tokens": 2})
    accepted, finished = logs
    assert (accepted["event"], finished["event"]) == ("request accepted", "request finished")
    assert accepted["id"] == finished["id"] == answer["id"]
    assert (finished["mode"], finished["tokens"], finished["outcome"]) == ("greedy_search", 2, "ok")
    assert finished["ms"] >= 0
    assert "SECRET" not in str(logs)


async def test_positions_without_an_end_are_served_beyond_the_context_with_a_warning(tokenizer_file, settings):
    engine = FakeEngine(fake_info(tokenizer_file, max_len=512, default_len=64))
    async with client_of(engine, settings) as client:
        far = {"inputs": [5] * 140, "generation_config": {"max_new_tokens": 20}}
        answer = (await client.post("/generate", json=far)).json()
        assert answer["warnings"] == ["a sequence may come to 160 tokens, and the model is made for 128"]
        silent = (await client.post("/generate", json={"inputs": [5] * 60})).json()
        assert silent["warnings"] == []
        beyond = await client.post("/generate", json={"inputs": [5] * 512})
        assert beyond.status_code == 422
        model = (await client.get("/info")).json()["model"]
    assert [one.config.max_length for one in engine.submissions] == [160, 64]
    assert (model["context_len"], model["max_len"]) == (128, 512)
