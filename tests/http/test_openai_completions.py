"""`POST /v1/completions` over a scripted engine: answers, chunks, problems, each to the letter."""

from typing import Any

import pytest

from beamhouse.engine.link.errors import RequestFailed
from beamhouse.engine.link.messages import FinishReason, Submission, Tokens
from beamhouse.schemas.words import FinishType
from tests.fakes import FakeEngine, Said, fake_info, search
from tests.http.conftest import client_of
from tests.http.openai_chunks import chunks_of

pytestmark = pytest.mark.anyio
USAGE = {
    "prompt_tokens": 2,
    "completion_tokens": 2,
    "total_tokens": 4,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
}


async def ask(client, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/completions", json={"prompt": "ab", "max_tokens": 2} | body)
    assert response.status_code == 200, response.text
    return response.json()


async def stream(client, **body: Any) -> list[dict[str, Any]]:
    body = {"prompt": "ab", "max_tokens": 2, "stream": True} | body
    return chunks_of(await client.post("/v1/completions", json=body))


async def refusal(client, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/completions", json={"prompt": "ab"} | body)
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/json"
    (error,) = response.json().values()
    return error


async def test_an_answer_holds_exactly_what_the_api_names(client):
    answer = await ask(client)
    assert answer.pop("id").startswith("cmpl-")
    assert answer.pop("created") > 1_700_000_000
    assert answer.pop("system_fingerprint") == (await ask(client))["system_fingerprint"]
    choice = {"index": 0, "text": "cd", "logprobs": None, "finish_reason": "length", "stop_reason": None}
    assert answer == {"object": "text_completion", "model": "tiny/bytes", "choices": [choice], "usage": USAGE}


async def test_a_stream_is_pieces_then_the_end_then_the_usage(client):
    chunks = await stream(client, stream_options={"include_usage": True})
    assert [chunk.pop("usage") for chunk in chunks] == [None, None, None, USAGE]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]) for chunk in chunks}) == 1
    told = [[(choice["text"], choice["finish_reason"]) for choice in chunk["choices"]] for chunk in chunks]
    assert told == [[("c", None)], [("d", None)], [("", "length")], []]


async def test_usage_is_told_only_where_it_is_asked_for(client):
    assert not any("usage" in chunk for chunk in await stream(client))


async def test_the_usage_so_far_stands_in_every_chunk(client):
    chunks = await stream(client, stream_options={"continuous_usage_stats": True})
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [1, 2, 2, 2]


async def test_choices_of_several_prompts_follow_each_other(client):
    answer = await ask(client, prompt=["ab", "xy"], n=2)
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == [
        (0, "cd"), (1, "de"), (2, "z{"), (3, "{|"),
    ]  # fmt: skip
    assert answer["usage"]["prompt_tokens"] == 4
    assert answer["usage"]["completion_tokens"] == 8


async def test_a_mode_with_one_answer_gets_the_prompt_so_many_times(client, engine):
    answer = await ask(client, n=3, temperature=0)
    assert len(engine.submissions) == 3
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (2, 6)


async def test_the_prompt_is_echoed_as_it_was_given(client, encode):
    assert [choice["text"] for choice in (await ask(client, prompt=["ab", "x"], echo=True))["choices"]] == [
        "abcd",
        "xyz",
    ]
    assert (await ask(client, prompt=encode("ab"), echo=True))["choices"][0]["text"] == "abcd"
    chunks = await stream(client, prompt="ab", echo=True)
    assert [choice["text"] for chunk in chunks for choice in chunk["choices"]] == ["ab", "c", "d", ""]


async def test_log_probabilities_have_the_form_of_completions(client):
    (choice,) = (await ask(client, logprobs=2))["choices"]
    assert choice["logprobs"] == {
        "tokens": ["c", "d"],
        "token_logprobs": [-0.5, -1.5],
        "top_logprobs": [{"c": -0.5, "d": -9999.0}, {"d": -0.5, "e": -9999.0}],
        "text_offset": [0, 1],
    }


async def test_chunks_hold_the_log_probabilities_of_their_tokens(client):
    (plain,) = (await ask(client, logprobs=2))["choices"]
    joined: dict[str, list[Any]] = {name: [] for name in plain["logprobs"]}
    for chunk in await stream(client, logprobs=2):
        told = chunk["choices"][0]["logprobs"] or {}
        joined = {name: entries + told.get(name, []) for name, entries in joined.items()}
    assert joined == plain["logprobs"]


@pytest.mark.parametrize(("echo", "offsets"), [(False, [0, 1, 1, 1, 2]), (True, [0, 0, 1, 2, 2, 2, 3])])
async def test_offsets_count_the_characters_of_the_text(client, engine, encode, echo, offsets):
    def script(submission):
        steps = [encode("a"), encode("€b")]
        said = [Tokens(0, step, scores=[-1.0] * len(step)) for step in steps]
        return [*said, Tokens(0, [], finish_reason=FinishReason(FinishType.LENGTH))]

    engine.script = script
    (plain,) = (await ask(client, prompt="é", logprobs=0, echo=echo))["choices"]
    assert plain["logprobs"]["text_offset"] == offsets
    told = [chunk["choices"][0]["logprobs"] for chunk in await stream(client, prompt="é", logprobs=0, echo=echo)]
    joined = [offset for logprobs in told if logprobs is not None for offset in logprobs["text_offset"]]
    assert joined == plain["logprobs"]["text_offset"]


async def test_a_search_tells_its_log_probabilities_with_the_end(client, engine):
    engine.script = search
    body = {"num_beams": 2, "logprobs": 1, "max_tokens": 3}
    (plain,) = (await ask(client, **body))["choices"]
    assert len(plain["logprobs"]["tokens"]) == 3
    told = [chunk["choices"][0]["logprobs"] for chunk in await stream(client, **body)]
    assert [logprobs for logprobs in told if logprobs is not None] == [plain["logprobs"]] == told[-1:]


async def test_log_probabilities_of_the_prompt_come_with_the_end_of_each_choice(client):
    (plain,) = (await ask(client, prompt_logprobs=1))["choices"]
    ends = [
        one for chunk in await stream(client, prompt_logprobs=1) for one in chunk["choices"] if one["finish_reason"]
    ]
    assert [end["prompt_logprobs"] for end in ends] == [plain["prompt_logprobs"]]
    assert len(plain["prompt_logprobs"]) == 2


async def test_where_nothing_is_generated_there_are_no_log_probabilities(client):
    assert (await ask(client, max_tokens=0, logprobs=1))["choices"][0]["logprobs"] is None
    told = [one for chunk in await stream(client, max_tokens=0, logprobs=1) for one in chunk["choices"]]
    assert [(one["logprobs"], one["finish_reason"]) for one in told] == [(None, "length")]
    _, chunk, *_ = await stream(client, max_tokens=0, return_token_ids=True)
    assert chunk["choices"][0]["token_ids"] == []


async def test_ids_stand_for_tokens_where_they_are_asked_for(client, encode):
    (choice,) = (await ask(client, logprobs=0, return_tokens_as_token_ids=True, return_token_ids=True))["choices"]
    third, fourth = encode("cd")
    assert choice["logprobs"]["tokens"] == [f"token_id:{third}", f"token_id:{fourth}"]
    assert (choice["token_ids"], choice["prompt_token_ids"]) == (encode("cd"), encode("ab"))
    first, *pieces, end = await stream(client, return_token_ids=True)
    assert first["choices"][0]["prompt_token_ids"] == encode("ab")
    assert [piece["choices"][0]["token_ids"] for piece in pieces] == [[third], [fourth]]
    assert "token_ids" not in end["choices"][0]


async def test_of_all_that_is_drawn_the_likeliest_are_told(client, engine):
    means = [-3.0, -1.0, -2.0, -4.0]

    def draw(submission: Submission) -> list[Said]:
        return [
            Tokens(row, [99 + row], scores=[mean], finish_reason=FinishReason(FinishType.LENGTH))
            for row, mean in enumerate(means)
        ]

    engine.script = draw
    answer = await ask(client, n=2, best_of=4, max_tokens=1, return_token_ids=True)
    assert [(choice["index"], choice["token_ids"]) for choice in answer["choices"]] == [(0, [100]), (1, [101])]
    assert answer["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (FinishReason(FinishType.EOS_TOKEN, token_id=1), ("stop", None)),
        (FinishReason(FinishType.EOS_TOKEN, token_id=7), ("stop", 7)),
        (FinishReason(FinishType.STOP_STRING, stop_string="x"), ("stop", "x")),
        (FinishReason(FinishType.TIME), ("length", None)),
        (FinishReason(FinishType.STOPPING_CRITERION, name="at_newline"), ("stop", "at_newline")),
    ],
)
async def test_every_end_has_a_reason_of_the_api(client, engine, reason, told):
    engine.script = lambda submission: [Tokens(0, [99], finish_reason=reason)]
    (choice,) = (await ask(client, stop_token_ids=[7]))["choices"]
    assert (choice["finish_reason"], choice["stop_reason"]) == told
    *_, end = await stream(client, stop_token_ids=[7])
    assert (end["choices"][0]["finish_reason"], end["choices"][0]["stop_reason"]) == told


async def test_what_the_api_has_no_word_for_comes_as_our_own_answer(client):
    answer = await ask(client, outputs={"config": True}, temperature=0)
    assert answer["native"]["generation_config"]["max_new_tokens"] == 2
    *_, last = await stream(client, outputs={"config": True}, temperature=0)
    assert last["native"]["generation_config"]["max_new_tokens"] == 2


async def test_a_search_tells_how_it_stands_where_that_is_asked_for(client, engine):
    engine.script = search
    chunks = await stream(client, num_beams=2, max_tokens=3, outputs={"progress": True})
    assert [len(chunk["progress"]["hypotheses"]) for chunk in chunks if "progress" in chunk] == [2, 2]


async def test_what_has_no_effect_is_said_in_the_words_of_the_client(client):
    assert "top_p" in (await ask(client, temperature=0, top_p=0.5))["warnings"][0]
    answer = await ask(client, max_tokens=0, stop=".")
    assert answer["warnings"] == ["max_tokens generates nothing, so that these have no effect: stop, do_sample"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"suffix": "x"}, "suffix", "not_supported"),
        ({"bad_words": ["x"]}, "bad_words", "not_supported"),
        ({"store": True}, "store", "out_of_range"),
        ({"maxtokens": 3}, "maxtokens", "unknown_field"),
        ({"temperature": -1}, "temperature", "out_of_range"),
        ({"stop": ["x", ""]}, "stop[1]", "out_of_range"),
        ({"logit_bias": {"a": 1}}, "logit_bias.a", "out_of_range"),
        ({"logit_bias": {"05": 1}}, "logit_bias[05]", "out_of_range"),
        ({"logit_bias": {"5": 101}}, "logit_bias[5]", "out_of_range"),
        ({"logit_bias": {"300": 1}}, "logit_bias", "out_of_range"),
        ({"n": 3, "num_beams": 2}, "n", "conflict"),
        ({"max_tokens": 4, "max_new_tokens": 5}, "max_tokens", "conflict"),
        ({"prompt": "a" * 128}, "prompt", "context_length_exceeded"),
        ({"max_tokens": 127}, "max_tokens", "context_length_exceeded"),
        ({"prompt": [1, 300]}, "prompt[1]", "out_of_range"),
        ({"guided_json": "{"}, "guided_json", "invalid"),
        ({"guided_grammar": "a", "guided_regex": "b"}, "guided_grammar", "conflict"),
        ({"assistant_model": "nobody"}, "assistant_model", "unknown_name"),
        ({"generation_config": {"top_p": 2}}, "generation_config.top_p", "out_of_range"),
    ],
)
async def test_what_cannot_be_obeyed_is_refused_by_its_name(client, body, param, code):
    error = await refusal(client, **body)
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert error["message"]


@pytest.mark.parametrize("name", ["guided_json", "generation_config"])
async def test_json_within_a_text_is_told_of_by_its_field(client, name):
    message = (await refusal(client, **{name: '{"a": '}))["message"]
    assert message.startswith(f"{name}: its text is not valid JSON")


async def test_null_equals_absent(client, engine):
    nulls = dict.fromkeys(("suffix", "stop", "logprobs", "n", "best_of", "user", "generation_config", "num_beams"))
    assert (await ask(client, **nulls))["choices"][0]["text"] == "cd"


async def test_a_failure_within_a_stream_is_its_last_chunk(client, engine):
    engine.script = lambda submission: [Tokens(0, [99]), RequestFailed("a row of NaN")]
    *_, last = await stream(client)
    assert last == {
        "error": {"message": "a row of NaN", "type": "server_error", "param": None, "code": "request_failed"}
    }


async def test_a_failure_calls_fields_as_the_client_did(client, engine):
    engine.script = lambda submission: [RequestFailed("prefix_allowed_tokens: no token fits")]
    body = {"prompt": "ab", "guided_regex": "x", "max_tokens": 2}
    (plain,) = (await client.post("/v1/completions", json=body)).json().values()
    *_, last = chunks_of(await client.post("/v1/completions", json=body | {"stream": True}))
    assert plain["message"] == last["error"]["message"] == "guided_regex: no token fits"


async def test_a_failure_of_a_plain_answer_has_its_status(client, engine):
    engine.script = lambda submission: [RequestFailed("a row of NaN")]
    response = await client.post("/v1/completions", json={"prompt": "ab"})
    assert (response.status_code, response.json()["error"]["code"]) == (500, "request_failed")


async def test_a_strict_server_serves_one_name(connect):
    client = await connect(strict_model_name=True)
    response = await client.post("/v1/completions", json={"model": "gpt-4", "prompt": "ab"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    assert (await ask(client, model="tiny/bytes"))["model"] == "tiny/bytes"


async def test_what_clients_tell_of_their_users_is_written_down_nowhere(client, logs):
    await ask(client, user="alice", safety_identifier="alice", metadata={"who": "alice"})
    assert "alice" not in str(logs)


async def test_a_model_without_a_tokenizer_tells_ids(settings):
    engine = FakeEngine(fake_info(None))
    async with client_of(engine, settings) as client:
        answer = await ask(client, prompt=[5, 6], logprobs=1, return_token_ids=True)
    (choice,) = answer["choices"]
    assert (choice["text"], choice["token_ids"], choice["logprobs"]["tokens"]) == (
        "", [7, 8], ["token_id:7", "token_id:8"],
    )  # fmt: skip
