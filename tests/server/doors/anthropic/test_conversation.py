"""What a conversation of Anthropic's protocol becomes."""

import pytest

from beamhouse.schemas.anthropic.messages import CountTokensRequest
from beamhouse.schemas.beamhouse.conversation import Conversation
from beamhouse.schemas.pydantic_problems import explain
from beamhouse.server.asking.turns import message_names
from beamhouse.server.doors.anthropic.conversation import conversation_of, tool_names, tools_of


def text(said: str) -> dict[str, object]:
    return {"type": "text", "text": said}


def use(number: int = 1) -> dict[str, object]:
    return {"type": "tool_use", "id": f"call_{number}", "name": "weather", "input": {"city": "Oslo"}}


def result(said: object, number: int = 1, **more: object) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": f"call_{number}", "content": said, **more}


def call(number: int = 1) -> dict[str, object]:
    function = {"name": "weather", "arguments": {"city": "Oslo"}}
    return {"id": f"call_{number}", "type": "function", "function": function}


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def assistant(content: object) -> dict[str, object]:
    return {"role": "assistant", "content": content}


def tool(content: object, number: int = 1, **more: object) -> dict[str, object]:
    return {"role": "tool", "tool_call_id": f"call_{number}", "name": "weather", "content": content}


USE, CALLS = assistant([use()]), {"role": "assistant", "tool_calls": [call()]}
CASES = {
    "a text": ([user("hi")], [user("hi")]),
    "a block": ([user([text("hi")])], [user("hi")]),
    "blocks": ([user([text("a"), text("b")])], [user([text("a"), text("b")])]),
    "no blocks": ([user([])], [user("")]),
    "turns of one role": ([user("a"), user([text("b")])], [user([text("a"), text("b")])]),
    "a system message between": (
        [user("a"), {"role": "system", "content": "b"}],
        [user("a"), {"role": "system", "content": "b"}],
    ),
    "a call": ([USE], [CALLS]),
    "a text and calls": (
        [assistant([text("so"), use(), use(2)])],
        [{"role": "assistant", "content": "so", "tool_calls": [call(), call(2)]}],
    ),
    "thoughts": (
        [assistant([{"type": "thinking", "thinking": "hm", "signature": "x"}, text("so")])],
        [{"role": "assistant", "content": "so", "reasoning_content": "hm"}],
    ),
    "a result": ([USE, user([result("5")])], [CALLS, tool("5")]),
    "a result without a text": ([USE, user([{"type": "tool_result", "tool_use_id": "call_1"}])], [CALLS, tool("")]),
    "a result in blocks": ([USE, user([result([text("5")])])], [CALLS, tool("5")]),
    "a failure": ([USE, user([result("no", is_error=True)])], [CALLS, tool("Error: no")]),
    "a failure without a text": ([USE, user([result([], is_error=True)])], [CALLS, tool("Error: ")]),
    "no failure": ([USE, user([result("5", is_error=False)])], [CALLS, tool("5")]),
    "results and a text": (
        [assistant([use(), use(2)]), user([result("5"), result("6", 2), text("go on")])],
        [{"role": "assistant", "tool_calls": [call(), call(2)]}, tool("5"), tool("6", 2), user("go on")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_messages_become_ours(case):
    given, expected = CASES[case]
    body = CountTokensRequest.model_validate({"model": "m", "messages": given})
    turns = [turn.fields() for turn in conversation_of(body.system, body.messages)]
    assert turns == expected
    Conversation.model_validate({"messages": turns})


@pytest.mark.parametrize(
    ("system", "content"), [("be brief", "be brief"), ([text("a"), text("b")], [text("a"), text("b")])]
)
def test_the_system_speaks_first(system, content):
    body = CountTokensRequest.model_validate({"model": "m", "system": system, "messages": [user("hi")]})
    turns = conversation_of(body.system, body.messages)
    assert [turn.fields() for turn in turns] == [{"role": "system", "content": content}, user("hi")]


def test_every_message_and_call_is_told_by_the_path_it_came_from():
    given = [user("hi"), assistant([text("so"), use()]), user([result("5"), text("go on")])]
    body = CountTokensRequest.model_validate({"model": "m", "system": "s", "messages": given})
    assert message_names(conversation_of(body.system, body.messages)) == {
        "messages.0": "system",
        "messages.1": "messages.0",
        "messages.2": "messages.1",
        "messages.2.tool_calls.0": "messages.1.content.1",
        "messages.3": "messages.2.content.0",
        "messages.4": "messages.2",
    }


def test_tools_become_ours():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    given = [
        {"name": "weather", "description": "Asks.", "input_schema": schema, "cache_control": {"type": "ephemeral"}},
        {"type": "custom", "name": "time", "input_schema": {"type": "object"}, "strict": True},
    ]
    body = CountTokensRequest.model_validate({"model": "m", "messages": [user("hi")], "tools": given})
    assert [tool.as_given() for tool in tools_of(body.tools)] == [
        {"type": "function", "function": {"name": "weather", "description": "Asks.", "parameters": schema}},
        {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}, "strict": True}},
    ]
    assert tool_names(1) == {"tools.0.function.parameters": "tools.0.input_schema", "tools.0.function": "tools.0"}


REFUSED = {
    "an image": (user([{"type": "image", "source": {}}]), "image"),
    "a document": (user([{"type": "document", "source": {}}]), "document"),
    "thoughts nobody can read": (assistant([{"type": "redacted_thinking", "data": "x"}]), "redacted_thinking"),
    "a call on their server": (assistant([{"type": "server_tool_use"}]), "server_tool_use"),
    "an image from a tool": (user([result([{"type": "image", "source": {}}])]), "image"),
    "a call of the user": (user([use()]), "tool_use"),
    "a result of the assistant": (assistant([result("5")]), "tool_result"),
    "citations": (user([text("a") | {"citations": []}]), "citations"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_template_can_show_is_refused_by_name(case):
    message, name = REFUSED[case]
    assert name in refusal(messages=[message])


@pytest.mark.parametrize(
    "kind", ["bash_20250124", "web_search_20250305", "text_editor_20250728", "code_execution_20250825", "mcp_toolset"]
)
def test_tools_of_their_servers_are_refused_by_name(kind):
    assert kind in refusal(tools=[{"type": kind, "name": "x"}])


@pytest.mark.parametrize(
    "field",
    [
        {"mcp_servers": []},
        {"container": "x"},
        {"thinking": {"type": "between_tools"}},
        {"thinking": {"type": "adaptive", "display": "omitted"}},
        {"speed": "fast"},
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
        {"tools": [{"name": "x", "input_schema": {}, "defer_loading": True}]},
        {"tools": [{"name": "x", "input_schema": {}, "input_examples": [{}]}]},
    ],
    ids=str,
)
def test_what_cannot_be_obeyed_is_refused(field):
    assert refusal(**field)


def refusal(**fields: object) -> str:
    """What is said of a body."""
    body = {"model": "m", "messages": [user("hi")], **fields}
    with pytest.raises(ValueError, match="validation error") as caught:
        CountTokensRequest.model_validate(body)
    return "; ".join(m for _, m in explain(caught.value.errors(include_url=False), body, CountTokensRequest).values())
