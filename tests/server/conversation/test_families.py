"""What each family of models writes, and what it means."""

from collections.abc import Callable

import pytest

from beamhouse.server.conversation.deltas import Turn
from beamhouse.server.conversation.turn_format import FAMILIES, TurnFormat, detect_tool_format
from tests.server.conversation.cutting import turn

OSLO = '{"city": "Oslo", "days": 2}'
ODD = '{"city": "a}]</tool_call>\\" \\\\", "more": [{"\u00e9": "\U0001f30d{"}], "x": {"y": {}}}'


def read(family: str, text: str) -> Turn:
    return turn(TurnFormat(FAMILIES[family]), text)


def calls(family: str, text: str) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in read(family, text).calls]


def hermes(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def llama(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "parameters": {arguments}}}'


@pytest.mark.parametrize("arguments", [OSLO, ODD, "{}", '{"city": "Oslo'])
@pytest.mark.parametrize(("family", "write"), [("hermes", hermes), ("llama3", llama), ("plain", llama)])
def test_arguments_are_as_the_model_wrote_them(family: str, write: Callable[[str, str], str], arguments: str) -> None:
    text = write("weather", arguments)
    cut_off = text[: text.index(arguments) + len(arguments)]
    assert calls(family, text if arguments.endswith("}") else cut_off) == [("weather", arguments)]


def test_hermes_text_stands_before_and_between_and_behind_calls() -> None:
    told = read(
        "hermes", f"I look.\n\n{hermes('weather', OSLO)}\n{hermes('clock', '{}')}\n Both \n{hermes('clock', '{}')}\n"
    )
    assert told.text == "I look.Both"
    assert [call.name for call in told.calls] == ["weather", "clock", "clock"]
    assert len({call.call_id for call in told.calls}) == 3


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\nno object\n</tool_call> ",
        hermes("unheard_of", OSLO),
        '<tool_call>{"name": "weather", "arguments": 7}</tool_call>',
        '<tool_call>{"name": "weather", "arguments": "no object"}</tool_call>',
        '<tool_call>{"name": "weather" "arguments": {}}</tool_call>',
        '<tool_call>{"name": "wea',
        "a <tool_ca",
        "<tool_call>",
        '{"name": "weather", "arguments": {}}',
        "</tool_call>",
    ],
)
def test_hermes_what_is_no_call_stays_text(text: str) -> None:
    assert read("hermes", text) == Turn(text)


@pytest.mark.parametrize(
    "text",
    [
        f'<tool_call>{{"arguments": {OSLO}, "name": "weather"}}</tool_call>',
        f'<tool_call>{{"id": 7, "name": "weather", "arguments": {OSLO}, "type": [true, null, "x"]}}</tool_call>',
        f'<tool_call>{{"name": "weather", "arguments": {OSLO}</tool_call>',
        f'<tool_call>{{"name": "weather", "arguments": {OSLO}}}',
        f"<tool_call> {llama('weather', OSLO)} </tool_call>",
        '<tool_call>{"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\", \\"days\\": 2}"}</tool_call>',
    ],
)
def test_hermes_reads_what_models_make_of_it(text: str) -> None:
    assert read("hermes", text).text == ""
    assert calls("hermes", text) == [("weather", OSLO)]


def test_a_call_without_arguments_has_none() -> None:
    assert calls("hermes", '<tool_call>{"name": "clock"}</tool_call>') == [("clock", "{}")]
    assert calls("hermes", '<tool_call>{"name": "clock", "arguments": null}</tool_call>') == [("clock", "{}")]


def test_a_call_goes_on_behind_a_marker_that_none_followed() -> None:
    told = read("hermes", f"<tool_call>\n{hermes('clock', '{}')}")
    assert (told.text, len(told.calls)) == ("<tool_call>", 1)


@pytest.mark.parametrize("separator", ["; ", ";", "\n", " ;\n"])
def test_llama_writes_several_calls_in_a_row(separator: str) -> None:
    text = separator.join([llama("weather", OSLO), llama("clock", "{}")])
    for whole in (text, f"<|python_tag|>{text}", f" \n{text} "):
        assert calls("llama3", whole) == [("weather", OSLO), ("clock", "{}")]
        assert read("llama3", whole).text == ""


def test_llama_an_object_inside_a_text_is_text_unless_it_is_marked() -> None:
    text = f"For example {llama('weather', OSLO)}."
    assert read("llama3", text) == Turn(text)
    told = read("llama3", f"I look. <|python_tag|>{llama('weather', OSLO)} done")
    assert (told.text, len(told.calls)) == ("I look.done", 1)
    assert read("llama3", f"{llama('clock', '{}')}; and so on").text == "; and so on"
    assert read("llama3", '<|python_tag|>brave_search.call(query="x")').text.endswith('query="x")')


TEMPLATES = {
    "hermes": "{%- if tools %}For each call return an object within <tool_call></tool_call> tags{% endif %}",
    "llama3": 'Respond in the format {"name": function name, "parameters": dictionary of argument name and value}.',
    None: "{% for message in messages %}{{ message.content }}{% endfor %}",
}


@pytest.mark.parametrize("family", TEMPLATES)
def test_the_template_tells_the_family(family: str | None) -> None:
    assert detect_tool_format(TEMPLATES[family]) == family
    assert TurnFormat.of(TEMPLATES[family]).tools == (FAMILIES[family] if family else None)
    assert TurnFormat.of(TEMPLATES[family], tool_format="none").tools is None
    assert TurnFormat.of(TEMPLATES[family], tool_format="plain").tools is FAMILIES["plain"]
