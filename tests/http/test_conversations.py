"""Conversations in bodies: what reaches the chat template, and what is refused by its name."""

import json

import pytest

from tests.fakes import fake_info
from tests.http.problems import check_problem

pytestmark = pytest.mark.anyio

TEMPLATE = (
    "{% for m in messages %}{{ m | tojson }}{% endfor %}{{ tools | tojson }}{{ documents | tojson }}"
    "{% if add_generation_prompt %}>{% endif %}{{ mood }}"
)
CALL = {"function": {"arguments": {"b": [1, None], "a": "é"}, "name": "f"}, "type": "function", "id": "c1"}
TOOL = {
    "function": {"strict": True, "return": {"type": "string"}, "parameters": {"type": None}, "name": "f"},
    "type": "function",
}
USER = {"role": "user", "content": "hi"}


@pytest.fixture
def talking(engine):
    engine.info = fake_info(engine.info.tokenizer_file, chat_template=TEMPLATE)


async def rendered(client, **body) -> str:
    tokenized = (await client.post("/tokenize", json=body)).json()["sequences"][0]
    text = (await client.post("/detokenize", json={"token_ids": tokenized["token_ids"]})).json()["texts"][0]
    assert isinstance(text, str)
    return text


@pytest.mark.usefixtures("talking")
async def test_templates_get_everything_in_the_order_in_which_it_was_given(client):
    messages = [USER, {"tool_calls": [CALL], "role": "assistant", "content": None}]
    documents = [{"title": "b", "a": 1}]
    written = await rendered(client, messages=messages, tools=[TOOL], documents=documents)
    turns = [USER, {"tool_calls": [CALL], "role": "assistant"}]
    expected = [*turns, [TOOL], documents]
    assert written == "".join(json.dumps(item, ensure_ascii=False) for item in expected) + ">"


@pytest.mark.usefixtures("talking")
async def test_arguments_as_json_text_reach_the_template_as_an_object(client):
    def messages(arguments: object) -> list[object]:
        return [{"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": arguments}}]}]

    given = {"b": [1, None], "a": {"c": "é"}}
    as_text = await rendered(client, messages=messages(json.dumps(given)))
    assert as_text == await rendered(client, messages=messages(given))
    assert '"arguments": {"b": [1, null], "a": {"c": "é"}}' in as_text


@pytest.mark.usefixtures("talking")
@pytest.mark.parametrize(
    ("options", "end"),
    [
        ({}, ">"),
        ({"add_generation_prompt": False}, ""),
        ({"add_generation_prompt": None, "chat_template_kwargs": {"mood": "calm"}}, ">calm"),
    ],
)
async def test_the_end_and_the_variables_of_a_prompt_are_chosen(client, options, end):
    assert (await rendered(client, messages=[USER], **options)).endswith("nullnull" + end)


async def test_a_generation_goes_on_with_the_final_message(client, engine, encode):
    messages = [USER, {"role": "assistant", "content": [{"type": "text", "text": "so "}]}]
    config = {"max_new_tokens": 1}
    body = {"messages": messages, "continue_final_message": True, "generation_config": config}
    assert (await client.post("/generate", json=body)).status_code == 200
    assert engine.submissions[0].prompt_ids == encode("<user>hi<assistant>so ")


async def test_info_says_whether_the_template_reads_tools(client, engine):
    assert (await client.get("/info")).json()["model"]["reads_tools"] is False
    engine.info = fake_info(engine.info.tokenizer_file, reads_tools=True)
    assert (await client.get("/info")).json()["model"]["reads_tools"] is True


def called(arguments: object) -> dict[str, object]:
    return {
        "messages": [{"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": arguments}}]}]
    }


IMAGE = {"type": "image_url", "image_url": {"url": "http://example.org/a.png"}}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "/messages/0/content/0", "not_supported"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "/messages/0/content/0", "wrong_type"),
        ({"messages": [{"role": "user", "content": []}]}, "/messages/0/content", "out_of_range"),
        ({"messages": [{"role": "user", "content": None}]}, "/messages/0", "conflict"),
        ({"messages": [{"role": "user", "content": "a", "refusal": "b"}]}, "/messages/0/refusal", "unknown_field"),
        (called("{"), "/messages/0/tool_calls/0/function/arguments", "invalid"),
        (called(""), "/messages/0/tool_calls/0/function/arguments", "invalid"),
        (called("[1]"), "/messages/0/tool_calls/0/function/arguments", "invalid"),
        (called('{"a": NaN}'), "/messages/0/tool_calls/0/function/arguments", "invalid"),
        (called('{"a": 1, "a": 2}'), "/messages/0/tool_calls/0/function/arguments", "invalid"),
        (called('{"a":' * 3000 + "1" + "}" * 3000), "/messages/0/tool_calls/0/function/arguments", "invalid"),
        (called([1]), "/messages/0/tool_calls/0/function/arguments", "wrong_type"),
        ({"messages": [USER], "tools": [TOOL]}, "/tools", "not_supported"),
        ({"messages": [USER], "documents": [{"text": "a"}]}, "/documents", "not_supported"),
        ({"messages": [USER], "tools": [{"type": "web_search"}]}, "/tools/0/type", "out_of_range"),
        ({"messages": [USER], "chat_template_kwargs": {"mood": 1}}, "/chat_template_kwargs/mood", "unknown_field"),
        ({"messages": [USER], "chat_template_kwargs": {"tools": []}}, "/chat_template_kwargs/tools", "unknown_field"),
        ({"messages": [USER], "add_generation_prompt": True, "continue_final_message": True}, "", "conflict"),
        ({"inputs": "a", "tools": [TOOL]}, "", "conflict"),
        ({"inputs": "a", "continue_final_message": False}, "", "conflict"),
    ],
)
@pytest.mark.parametrize("path", ["/generate", "/tokenize"])
async def test_what_a_conversation_may_not_hold_is_refused_by_name(client, path, body, pointer, code):
    problem = check_problem(await client.post(path, json=body), 422)
    assert (pointer, code) in [(error["pointer"], error["code"]) for error in problem["errors"]]
