"""TGI's routes over a scripted engine: answers, streams, problems, and whose request a body is."""

from typing import Any

import pytest

from beamhouse.engine.link.messages import FinishReason, Submission, Tokens
from beamhouse.schemas.words import FinishType
from tests.fakes import fake_info, search
from tests.http.conftest import client_of
from tests.http.tgi import ask, stream

pytestmark = pytest.mark.anyio


async def test_a_plain_answer_is_one_object_or_the_one_of_a_list(client):
    assert await ask(client, "/generate", {"max_new_tokens": 3}) == {"generated_text": "cde"}
    assert await ask(client, "/", {"max_new_tokens": 3}) == [{"generated_text": "cde"}]


async def test_details_tell_tokens_and_why_they_ended(client):
    answer = await ask(client, "/generate", {"max_new_tokens": 2, "details": True, "top_n_tokens": 2})
    details = answer["details"]
    assert [[(top["text"], top["logprob"]) for top in tops] for tops in details.pop("top_tokens")] == [
        [("c", -0.5), ("d", None)],
        [("d", -0.5), ("e", None)],
    ]
    assert details == {
        "finish_reason": "length",
        "generated_tokens": 2,
        "seed": None,
        "prefill": [],
        "tokens": [
            {"id": 66, "text": "c", "logprob": -0.5, "special": False},
            {"id": 67, "text": "d", "logprob": -1.5, "special": False},
        ],
    }


async def test_the_prompt_is_told_if_asked(client):
    answer = await ask(client, "/generate", {"max_new_tokens": 1, "decoder_input_details": True})
    assert [(token["text"], token["logprob"]) for token in answer["details"]["prefill"]] == [("a", None), ("b", -1.0)]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (FinishReason(FinishType.LENGTH), "length"),
        (FinishReason(FinishType.TIME), "length"),
        (FinishReason(FinishType.EOS_TOKEN, token_id=1), "eos_token"),
        (FinishReason(FinishType.STOP_STRING, stop_string="d"), "stop_sequence"),
        (FinishReason(FinishType.STOPPING_CRITERION, name="at_newline"), "stop_sequence"),
    ],
)
async def test_reasons_of_an_end_have_the_words_that_clients_know(client, engine, reason, word):
    engine.script = lambda submission: [Tokens(0, [66], [-0.5], finish_reason=reason)]
    answer = await ask(client, "/generate", {"max_new_tokens": 9, "details": True})
    assert answer["details"]["finish_reason"] == word
    assert (await stream(client, {"max_new_tokens": 9, "details": True}))[-1]["details"]["finish_reason"] == word


async def test_a_stream_has_an_event_for_each_token_and_the_whole_in_the_last(client):
    events = await stream(client, {"max_new_tokens": 3, "details": True, "top_n_tokens": 1})
    assert [event["index"] for event in events] == [1, 2, 3]
    assert [event["token"]["text"] for event in events] == ["c", "d", "e"]
    assert [event["token"]["logprob"] for event in events] == [-0.5, -1.5, -2.5]
    assert [event["top_tokens"][0]["text"] for event in events] == ["c", "d", "e"]
    assert [event["generated_text"] for event in events] == [None, None, "cde"]
    assert [event["details"] for event in events[:2]] == [None, None]
    assert events[2]["details"] == {"finish_reason": "length", "generated_tokens": 3, "seed": None, "input_length": 2}
    assert (await stream(client, {"max_new_tokens": 3}))[-1]["details"] is None


MODES: list[dict[str, Any]] = [{}, {"do_sample": True, "seed": 3}, {"num_beams": 2}, {"prompt_lookup_num_tokens": 2}]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("text", ["\u00e9t\u00e9 \u2028 fin", "\U0001f600\U0001f601", "plain \u00e9"])
async def test_a_stream_joined_equals_the_plain_answer(client, engine, encode, mode, text):
    """Also where tokens are parts of characters, and where several of them come together."""
    ids = [*encode(text), encode("\u00e9")[0]]

    def script(submission: Submission) -> list[Tokens]:
        steps = [ids[:1], ids[1:4], ids[4:5], ids[5:]]
        scores = [[-float(number) for number in step] for step in steps]
        *some, last = [Tokens(0, step, score) for step, score in zip(steps, scores, strict=True)]
        last.finish_reason = FinishReason(FinishType.LENGTH)
        return [*some, last]

    engine.script = script
    parameters = {"max_new_tokens": len(ids), "details": True, **mode}
    plain, events = await ask(client, "/generate", parameters), await stream(client, parameters)
    assert events[-1]["generated_text"] == plain["generated_text"] == text + "\ufffd"
    assert "".join(event["token"]["text"] for event in events) == plain["generated_text"]
    assert [event["token"] for event in events] == plain["details"]["tokens"]
    last, whole = events[-1]["details"], plain["details"]
    assert {name: last[name] for name in ("finish_reason", "generated_tokens", "seed")} == {
        name: whole[name] for name in ("finish_reason", "generated_tokens", "seed")
    }


async def test_what_all_hypotheses_agree_on_is_streamed(client, engine):
    engine.script = search
    parameters = {"max_new_tokens": 3, "num_beams": 2, "details": True}
    plain, events = await ask(client, "/generate", parameters), await stream(client, parameters)
    assert [event["token"]["text"] for event in events] == ["c", "d", "e"]
    assert [event["token"]["logprob"] for event in events] == [None, None, None]
    assert events[-1]["generated_text"] == plain["generated_text"] == "cde"
    assert [token["logprob"] for token in plain["details"]["tokens"]] == [-0.5, -1.5, -2.5]


async def test_a_search_whose_last_step_adds_no_token_still_ends_with_the_whole(client, engine):
    def script(submission: Submission) -> list[Tokens]:
        *some, last = search(submission)
        return [*some, Tokens(0, last.token_ids), Tokens(0, finish_reason=last.finish_reason, ranking=last.ranking)]

    engine.script = script
    events = await stream(client, {"max_new_tokens": 2, "num_beams": 2})
    assert [(event["token"]["text"], event["generated_text"]) for event in events] == [("c", None), ("d", "cd")]


async def test_the_best_of_several_draws_is_the_likeliest_by_its_mean(client, engine):
    def script(submission: Submission) -> list[Tokens]:
        number = submission.seed - engine.submissions[0].seed
        length = (4, 1, 2)[number]
        scores = [-1.0] * 4 if number == 0 else [-2.0] if number == 1 else [-0.5, -0.75]
        return [Tokens(0, [97 + number] * length, scores, finish_reason=FinishReason(FinishType.LENGTH))]

    engine.script = script
    parameters = {"max_new_tokens": 4, "do_sample": True, "best_of": 3, "details": True}
    answer = await ask(client, "/generate", parameters)
    details, first = answer["details"], engine.submissions[0].seed
    assert (details["generated_tokens"], details["seed"]) == (2, first + 2)
    others = details["best_of_sequences"]
    assert [(one["generated_tokens"], one["seed"]) for one in others] == [(4, first), (1, first + 1)]
    assert [len(one["tokens"]) for one in others] == [4, 1]
    assert others[0]["generated_text"] != others[1]["generated_text"] != answer["generated_text"]


async def test_several_sequences_of_a_search_stand_beside_the_best(client, engine):
    engine.script = search
    parameters = {"max_new_tokens": 2, "num_beams": 2, "num_return_sequences": 2, "details": True}
    answer = await ask(client, "/generate", parameters)
    assert answer["generated_text"] == "cd"
    assert [one["generated_text"] for one in answer["details"]["best_of_sequences"]] == ["ce"]


async def test_a_draw_tells_the_seed_that_repeats_it(client, engine):
    details = (await ask(client, "/generate", {"max_new_tokens": 1, "do_sample": True, "details": True}))["details"]
    assert details["seed"] == engine.submissions[-1].seed < 2**53
    again = {"max_new_tokens": 1, "do_sample": True, "details": True, "seed": 2**64 - 1}
    assert (await ask(client, "/generate", again))["details"]["seed"] == 2**64 - 1 == engine.submissions[-1].seed
    await ask(client, "/")
    assert engine.submissions[-1].config.do_sample


async def test_the_text_begins_with_the_prompt_if_asked(client, connect):
    asked = {"max_new_tokens": 1, "return_full_text": True, "details": True}
    assert (await ask(client, "/generate", asked))["generated_text"] == "abc"
    assert (await stream(client, asked))[-1]["generated_text"] == "abc"
    silent = {"max_new_tokens": 1}
    like_tgi = await connect(tgi_compat=True)
    for path, here, there in (("/", "c", "abc"), ("/generate", "c", "c")):
        answers = [await ask(each, path, silent) for each in (client, like_tgi)]
        assert [(one[0] if path == "/" else one)["generated_text"] for one in answers] == [here, there]
    assert (await ask(like_tgi, "/", {**silent, "return_full_text": False}))[0]["generated_text"] == "c"


async def test_headers_tell_times_and_counts(client):
    response = await client.post("/generate", json={"inputs": "ab", "parameters": {"max_new_tokens": 2}})
    headers = {name: value for name, value in response.headers.items() if name.startswith("x-")}
    del headers["x-request-id"]
    assert float(headers.pop("x-compute-time")) < 60
    assert int(headers.pop("x-total-time")) < 60_000
    assert headers == {
        "x-compute-type": "cpu",
        "x-compute-characters": "2",
        "x-validation-time": "0",
        "x-queue-time": "250",
        "x-inference-time": "1500",
        "x-time-per-token": "750",
        "x-prompt-tokens": "2",
        "x-generated-tokens": "2",
    }
    response = await client.post("/generate_stream", json={"inputs": "ab", "parameters": {"max_new_tokens": 2}})
    names = ("x-compute-type", "x-compute-characters", "x-accel-buffering")
    assert [response.headers[name] for name in names] == ["cpu", "2", "no"]


async def test_our_own_answer_comes_along_where_outputs_are_asked_for(client):
    parameters = {"max_new_tokens": 2, "outputs": {"config": True}, "output_scores": True}
    answer = await ask(client, "/generate", parameters)
    assert answer["native"]["generation_config"]["max_new_tokens"] == 2
    assert answer["native"]["tensors"]["scores"]
    assert (await stream(client, parameters))[-1]["native"]["mode"] == "greedy_search"


async def test_tokens_that_add_nothing_are_special_and_named(engine, settings, tokenizer_file):
    engine.info = fake_info(tokenizer_file, special_tokens={"eos_token": "<end>"}, vocab_size=257)
    reason = FinishReason(FinishType.EOS_TOKEN, token_id=256)
    engine.script = lambda submission: [Tokens(0, [66], [-0.5]), Tokens(0, [256], [-0.1], finish_reason=reason)]
    async with client_of(engine, settings) as client:
        plain = await ask(client, "/generate", {"max_new_tokens": 9, "details": True})
        events = await stream(client, {"max_new_tokens": 9})
        shown = {"max_new_tokens": 9, "details": True, "outputs": {"skip_special_tokens": False}}
        whole = await ask(client, "/generate", shown)
    end = {"id": 256, "text": "<end>", "logprob": -0.1, "special": True}
    assert plain["details"]["tokens"][-1] == events[-1]["token"] == end
    assert plain["generated_text"] == events[-1]["generated_text"] == "c"
    assert whole["generated_text"] == "".join(token["text"] for token in whole["details"]["tokens"]) == "c<end>"


async def test_a_text_may_end_before_its_stop_string(client, engine, encode):
    """The pieces of a stream, and of details, are cut where the text ends."""
    reason = FinishReason(FinishType.STOP_STRING, stop_string="de")
    engine.script = lambda submission: [
        Tokens(0, encode("abc"), [-1.0] * 3),
        Tokens(0, encode("d"), [-1.0]),
        Tokens(0, encode("e"), [-1.0], finish_reason=reason),
    ]
    parameters = {"max_new_tokens": 9, "stop": ["de"], "details": True, "outputs": {"include_stop_string": False}}
    plain, events = await ask(client, "/generate", parameters), await stream(client, parameters)
    assert plain["generated_text"] == events[-1]["generated_text"] == "abc"
    assert "".join(token["text"] for token in plain["details"]["tokens"]) == "abc"
    assert "".join(event["token"]["text"] for event in events) == "abc"
    assert len(events) == plain["details"]["generated_tokens"] == 5


async def test_a_prompt_alone_can_be_read(client, engine):
    engine.script = lambda submission: [Tokens(0, finish_reason=FinishReason(FinishType.LENGTH))]
    parameters = {"decoder_input_details": True, "outputs": {"prompt_only": True}}
    answer = await ask(client, "/generate", parameters)
    assert (answer["generated_text"], answer["details"]["tokens"]) == ("", [])
    assert [token["text"] for token in answer["details"]["prefill"]] == ["a", "b"]
