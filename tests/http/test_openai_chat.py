"""`POST /v1/chat/completions` over a scripted engine: answers, chunks, problems, each to the letter."""

from typing import Any

import pytest

from beamhouse.engine.link.errors import RequestFailed
from beamhouse.engine.link.messages import FinishReason, Tokens
from beamhouse.schemas.words import FinishType
from tests.fakes import FakeEngine, fake_info
from tests.http.conftest import client_of, make_settings
from tests.http.openai_chunks import chunks_of

pytestmark = pytest.mark.anyio
SAID = [{"role": "user", "content": "ab"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}
IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}


async def ask(client, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/chat/completions", json={"messages": SAID, "max_tokens": 2} | body)
    assert response.status_code == 200, response.text
    return response.json()


async def stream(client, **body: Any) -> list[dict[str, Any]]:
    body = {"messages": SAID, "max_tokens": 2, "stream": True} | body
    return chunks_of(await client.post("/v1/chat/completions", json=body))


async def refusal(client, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/chat/completions", json={"messages": SAID} | body)
    assert response.status_code == 400, response.text
    (error,) = response.json().values()
    return error


async def test_an_answer_holds_exactly_what_the_api_names(client):
    answer = await ask(client)
    assert answer.pop("id").startswith("chatcmpl-")
    assert answer.pop("created") > 1_700_000_000
    assert answer.pop("system_fingerprint").startswith("fp_")
    assert answer.pop("usage")["completion_tokens"] == 2
    message = {"role": "assistant", "content": "cd", "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length", "stop_reason": None}
    assert answer == {"object": "chat.completion", "model": "tiny/bytes", "choices": [choice]}


async def test_a_stream_is_the_role_then_pieces_then_the_end_then_the_usage(client):
    chunks = await stream(client, stream_options={"include_usage": True})
    told = [[(choice["delta"], choice["finish_reason"]) for choice in chunk["choices"]] for chunk in chunks]
    assert told == [
        [({"role": "assistant", "content": ""}, None)],
        [({"content": "c"}, None)],
        [({"content": "d"}, None)],
        [({}, "length")],
        [],
    ]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1]["usage"]["total_tokens"] == chunks[-1]["usage"]["prompt_tokens"] + 2


async def test_an_answer_without_a_maximum_fills_the_context(client, engine):
    engine.script = lambda submission: [Tokens(0, [99], finish_reason=FinishReason(FinishType.EOS_TOKEN))]
    assert (await client.post("/v1/chat/completions", json={"messages": SAID})).status_code == 200
    assert engine.submissions[0].config.max_length == 128


async def test_a_developer_is_the_system_to_a_template_that_knows_none(client, engine, tokenizer_file, encode):
    messages = [{"role": "developer", "content": "x"}, *SAID]
    await ask(client, messages=messages)
    assert engine.submissions[-1].prompt_ids == encode("<system>x<user>ab")
    template = "{% for m in messages %}<{{ 'd' if m.role == 'developer' else m.role }}>{{ m.content }}{% endfor %}"
    knows = FakeEngine(fake_info(tokenizer_file, chat_template=template))
    async with client_of(knows, make_settings()) as other:
        await ask(other, messages=messages)
    assert knows.submissions[-1].prompt_ids == encode("<d>x<user>ab")


async def test_what_clients_send_back_of_an_answer_is_taken(client, encode):
    """The `openai` package writes down every field of a message, also those that were empty."""
    empty = dict.fromkeys(("refusal", "audio", "function_call", "annotations", "tool_calls", "reasoning_content"))
    said = {"role": "assistant", "content": "cd"}
    messages = [*SAID, said | empty, *SAID, said | {"annotations": [], "tool_calls": []}, *SAID]
    assert (await ask(client, messages=messages))["choices"][0]["message"]["content"] == "cd"


async def test_log_probabilities_have_the_form_of_chat(client):
    (choice,) = (await ask(client, logprobs=True, top_logprobs=2, max_tokens=1))["choices"]
    (token,) = choice["logprobs"]["content"]
    assert token == {
        "token": "c",
        "logprob": -0.5,
        "bytes": [99],
        "top_logprobs": [
            {"token": "c", "logprob": -0.5, "bytes": [99]},
            {"token": "d", "logprob": -9999.0, "bytes": [100]},
        ],
    }
    _, piece, _ = await stream(client, logprobs=True, top_logprobs=2, max_tokens=1)
    assert piece["choices"][0]["logprobs"] == choice["logprobs"]


async def test_log_probabilities_without_alternatives_are_of_the_tokens_alone(client):
    (choice,) = (await ask(client, logprobs=True))["choices"]
    assert [token["top_logprobs"] for token in choice["logprobs"]["content"]] == [[], []]


TURN = '<think>hm</think>I look.\n<tool_call>\n{"name": "look", "arguments": {"at": "x"}}\n</tool_call>'


async def test_a_turn_is_told_as_reasoning_text_and_calls(says):
    async with says(TURN) as client:
        (choice,) = (await ask(client, tools=[TOOL]))["choices"]
        message = choice["message"]
        (call,) = message["tool_calls"]
        assert call.pop("id").startswith("call_")
        assert call == {"type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}
        assert (message["reasoning_content"], message["content"]) == ("hm", "I look.")
        assert choice["finish_reason"] == "tool_calls"


async def test_the_deltas_of_a_turn_come_to_the_plain_message(says):
    async with says(TURN) as client:
        (plain,) = (await ask(client, tools=[TOOL]))["choices"]
        joined: dict[str, Any] = {"reasoning_content": "", "content": "", "calls": []}
        for chunk in await stream(client, tools=[TOOL]):
            (choice,) = chunk["choices"]
            delta, reason = choice["delta"], choice["finish_reason"]
            joined["reasoning_content"] += delta.get("reasoning_content", "")
            joined["content"] += delta.get("content", "")
            for call in delta.get("tool_calls", []):
                if "id" in call:
                    assert (call["index"], call["type"]) == (len(joined["calls"]), "function")
                    joined["calls"].append(dict(call["function"]))
                else:
                    joined["calls"][call["index"]]["arguments"] += call["function"]["arguments"]
    message = plain["message"]
    assert joined == {
        "reasoning_content": message["reasoning_content"],
        "content": message["content"],
        "calls": [call["function"] for call in message["tool_calls"]],
    }
    assert reason == plain["finish_reason"]


async def test_a_call_that_is_cut_off_is_no_reason_to_call(says):
    async with says(TURN[:-20], FinishReason(FinishType.LENGTH)) as client:
        assert (await ask(client, tools=[TOOL]))["choices"][0]["finish_reason"] == "length"


async def test_without_tools_a_call_is_text(says):
    async with says(TURN) as client:
        (choice,) = (await ask(client))["choices"]
        assert "<tool_call>" in choice["message"]["content"]
        assert choice["finish_reason"] == "stop"
        (choice,) = (await ask(client, tools=[TOOL], tool_choice="none"))["choices"]
        assert "tool_calls" not in choice["message"]


async def test_reasoning_can_be_left_out(says):
    async with says(TURN) as client:
        (choice,) = (await ask(client, include_reasoning=False))["choices"]
        assert "reasoning_content" not in choice["message"]
        told = [chunk["choices"][0]["delta"] for chunk in await stream(client, include_reasoning=False)]
        assert not any("reasoning_content" in delta for delta in told)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"echo": True}, "echo", "not_supported"),
        ({"functions": []}, "functions", "not_supported"),
        ({"chat_template": "x"}, "chat_template", "not_supported"),
        ({"messages": []}, "messages", "out_of_range"),
        ({"messages": None}, "messages", "missing"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0]", "not_supported"),
        ({"messages": [{"role": "user", "content": "a" * 200}]}, "messages", "context_length_exceeded"),
        ({"max_completion_tokens": 500}, "max_completion_tokens", "context_length_exceeded"),
        ({"max_tokens": 500}, "max_tokens", "context_length_exceeded"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_completion_tokens", "conflict"),
        ({"top_logprobs": 2}, "top_logprobs", "conflict"),
        ({"reasoning_effort": "high"}, "reasoning_effort", "unknown_field"),
        ({"chat_template_kwargs": {"x": 1}}, "chat_template_kwargs.x", "unknown_field"),
        ({"verbosity": "high"}, "verbosity", "out_of_range"),
        ({"modalities": ["audio"]}, "modalities[0]", "out_of_range"),
    ],
)  # fmt: skip
async def test_what_cannot_be_obeyed_is_refused_by_its_name(client, body, param, code):
    error = await refusal(client, **body)
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")


async def test_a_model_without_a_chat_template_says_so(tokenizer_file, settings):
    engine = FakeEngine(fake_info(tokenizer_file, chat_template=None))
    async with client_of(engine, settings) as client:
        error = await refusal(client)
    assert error["param"] == "messages"
    assert "no chat template" in error["message"]


async def test_reasoning_effort_reaches_a_template_that_reads_it(tokenizer_file, encode):
    template = "{{ reasoning_effort }}{% for m in messages %}{{ m.content }}{% endfor %}"
    engine = FakeEngine(fake_info(tokenizer_file, chat_template=template))
    async with client_of(engine, make_settings()) as client:
        await ask(client, reasoning_effort="high")
        error = await refusal(client, reasoning_effort="high", chat_template_kwargs={"reasoning_effort": "low"})
    assert engine.submissions[0].prompt_ids == encode("highab")
    assert (error["param"], error["code"]) == ("reasoning_effort", "conflict")


async def test_a_final_message_is_continued(client, engine, encode):
    await ask(client, messages=[*SAID, {"role": "assistant", "content": "x"}], continue_final_message=True)
    assert engine.submissions[-1].prompt_ids == encode("<user>ab<assistant>x")


async def test_a_failure_within_a_stream_is_its_last_chunk(client, engine):
    engine.script = lambda submission: [Tokens(0, [99]), RequestFailed("a row of NaN")]
    *_, last = await stream(client)
    assert last["error"]["code"] == "request_failed"


async def test_copies_and_drawn_answers_are_choices(client):
    for body in ({"n": 2}, {"n": 2, "temperature": 0}):
        choices = (await ask(client, **body))["choices"]
        assert [choice["index"] for choice in choices] == [0, 1]
        ends = {c["choices"][0]["index"]: c["choices"][0]["finish_reason"] for c in await stream(client, **body)}
        assert ends == {0: "length", 1: "length"}
