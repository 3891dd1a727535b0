"""What each family of models writes, and what it means."""

from collections.abc import Callable
from typing import get_args

import pytest

from beamhouse.config.settings import ModelSettings, Settings
from beamhouse.schemas.model_info import TokenizerSwitches
from beamhouse.server.conversation.deltas import Turn
from beamhouse.server.conversation.reasoning import THINKING
from beamhouse.server.conversation.turn_format import AUTO, FAMILIES, NONE, TurnFormat, detect_tool_format
from beamhouse.server.service import turn_format
from tests.fakes import fake_info
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
    assert told.text == "I look.\nBoth"
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
    assert (told.text, len(told.calls)) == ("I look.\ndone", 1)
    assert read("llama3", f"{llama('clock', '{}')}; and so on").text == "; and so on"
    assert read("llama3", '<|python_tag|>brave_search.call(query="x")').text.endswith('query="x")')


@pytest.mark.parametrize(
    "text",
    [
        f'[TOOL_CALLS] [{{"name": "weather", "arguments": {OSLO}}}, {{"name": "clock", "arguments": {{}}}}]',
        f'[TOOL_CALLS][{{"name":"weather","arguments":{OSLO},"id":"a1b2c3d4e"}},{{"name":"clock","arguments":{{}}}}]',
        f"[TOOL_CALLS]weather[ARGS]{OSLO}[TOOL_CALLS]clock[ARGS]{{}}",
        f"[TOOL_CALLS]weather[CALL_ID]a1b2c3d4e[ARGS]{OSLO}[TOOL_CALLS] clock {{}}",
    ],
)
def test_mistral_marks_a_list_or_each_call(text: str) -> None:
    assert calls("mistral", text) == [("weather", OSLO), ("clock", "{}")]
    assert read("mistral", text).text == ""
    assert read("mistral", f"I look. {text}").text == "I look."


def test_mistral_what_is_no_call_stays_text() -> None:
    assert calls("mistral", f"[TOOL_CALLS]weather[ARGS]{ODD}") == [("weather", ODD)]
    for text in ("[TOOL_CALLS] []", "[TOOL_CALLS]unheard_of[ARGS]{}", "[TOOL_CALLS]clock[ARGS] 1", "[TOOL_CALLS]clock"):
        assert read("mistral", text) == Turn(text)
    told = read("mistral", '[TOOL_CALLS] [{"name": "clock", "arguments": {}}, {"name": "unheard_of"}]')
    assert (len(told.calls), told.text) == (1, ', {"name": "unheard_of"}]')


def coder(name: str, **parameters: str) -> str:
    written = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in parameters.items())
    return f"<tool_call>\n<function={name}>\n{written}</function>\n</tool_call>"


def test_qwen_coder_writes_parameters_as_plain_text() -> None:
    told = read("qwen_coder", f"I look.\n{coder('weather', city='Oslo', days='2')}\n{coder('clock')}")
    assert [(call.name, call.arguments) for call in told.calls] == [("weather", OSLO), ("clock", "{}")]
    assert told.text == "I look."
    text = 'a "b"\n\n\\ <tool_call> \u00e9\U0001f30d'
    assert read("qwen_coder", coder("weather", city=f"\n{text}\n")).calls[0].values == {"city": f"\n{text}\n"}
    assert read("qwen_coder", coder("weather", city="3", days="3")).calls[0].values == {"city": "3", "days": 3}
    assert read("qwen_coder", coder("weather", days="three")).calls[0].values == {"days": "three"}
    assert read("qwen_coder", coder("clock", at="True", on='["a"]')).calls[0].values == {"at": True, "on": ["a"]}


def test_qwen_coder_the_outer_tag_may_be_missing_and_the_text_may_break_off() -> None:
    assert calls("qwen_coder", "<function=clock>\n</function>") == [("clock", "{}")]
    whole = coder("weather", city="Oslo", days="2")
    assert calls("qwen_coder", whole[: whole.index("lo\n")]) == [("weather", '{"city": "Os')]
    assert calls("qwen_coder", whole[: whole.index("\n</parameter>\n</f")]) == [
        ("weather", '{"city": "Oslo", "days": 2')
    ]
    for text in ("<tool_call>\n<function=unheard_of>\n</function>", "<function=clock>1", "<tool_call>{}", "<function="):
        assert read("qwen_coder", text) == Turn(text)


@pytest.mark.parametrize(
    ("family", "begin", "end", "quote"),
    [
        ("function_gemma", "<start_function_call>", "<end_function_call>", "<escape>"),
        ("gemma4", "<|tool_call>", "<tool_call|>", '<|"|>'),
    ],
)
def test_gemma_has_a_notation_of_its_own(family: str, begin: str, end: str, quote: str) -> None:
    def quoted(text: str) -> str:
        return f"{quote}{text}{quote}"

    oslo = f"{begin}call:weather{{city:{quoted('Oslo')},days:2}}{end}"
    told = read(family, f"I look.\n{oslo}{begin}call:clock{{}}{end}")
    assert [(call.name, call.arguments) for call in told.calls] == [("weather", OSLO), ("clock", "{}")]
    assert told.text == "I look."
    odd = 'a}]:,"\\\n\u00e9\U0001f30d'
    inner = f"{{ {quoted('k')}: [ -1.5e3 , true,null,{quoted('')} , [ ]], y: {{}} , z:bare word}}"
    written = f"{begin}call:weather{{city:{quoted(odd)},more:{inner}}}{end}"
    assert read(family, written).calls[0].values == {
        "city": odd,
        "more": {"k": [-1.5e3, True, None, "", []], "y": {}, "z": "bare word"},
    }
    assert calls(family, oslo[: oslo.index("lo")]) == [("weather", '{"city": "Os')]
    assert calls(family, f"{begin}call:weather{{city {end}") == [("weather", "{")]
    for text in (f"{begin}call:unheard_of{{}}{end}", f"{begin}weather{{}}", f"{begin}call:weather", begin):
        assert read(family, text) == Turn(text)


def test_gemma_3_calls_in_the_words_of_python() -> None:
    code = "weather(city='Oslo', days=2)"
    for block in (code, f"print({code})", f"found = {code}", f"[{code}]", "weather('Oslo', 2)"):
        told = read("tool_code", f"I look.\n```tool_code\n{block}\n```\n")
        assert [(call.name, call.arguments) for call in told.calls] == [("weather", OSLO)]
        assert told.text == "I look."
    assert calls("tool_code", f"```tool_code\n{code}\nclock()\n```") == [("weather", OSLO), ("clock", "{}")]
    fence = "```tool_code\nweather(city='``` \\d', days=[1, {'a': None}])\n```"
    assert read("tool_code", fence).calls[0].values == {"city": "``` \\d", "days": [1, {"a": None}]}
    for block in ("x = 1", "unheard_of()", "weather(city)", "weather(", "", "weather(**a)", "clock(1)", "clock(x={1})"):
        text = f"```tool_code\n{block}\n```"
        assert read("tool_code", text) == Turn(text)


THOUGHT = "<|channel|>analysis<|message|>A city, so weather.<|end|>"
ASSISTANT = "<|start|>assistant"


@pytest.mark.parametrize(
    "head",
    [
        "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>",
        " to=functions.weather<|channel|>commentary json<|message|>",
        "<|channel|>analysis to=functions.weather code<|message|>",
    ],
)
@pytest.mark.parametrize("end", ["<|call|>", ""])
def test_harmony_calls_are_messages_to_a_function(head: str, end: str) -> None:
    form = TurnFormat.of("<|channel|>analysis<|message|> <|channel|>commentary")
    preamble = "<|channel|>commentary<|message|>I look.<|end|>"
    for arguments in (OSLO, ODD):
        told = turn(form, f"{THOUGHT}{ASSISTANT}{preamble}{ASSISTANT}{head}{arguments}{end}")
        assert (told.reasoning, told.text) == ("A city, so weather.", "I look.")
        assert [(call.name, call.arguments) for call in told.calls] == [("weather", arguments)]
    assert [call.name for call in turn(form, f"{head}{OSLO}{end}").calls] == ["weather"]


def test_harmony_thoughts_and_texts_have_channels() -> None:
    form = TurnFormat.of("<|channel|>analysis<|message|> <|channel|>commentary")
    final = "<|channel|>final<|message|>It rains.<|return|>"
    told = turn(form, f"{THOUGHT}{ASSISTANT}{THOUGHT}{ASSISTANT}{final}")
    assert (told.reasoning, told.text) == ("A city, so weather.\nA city, so weather.", "It rains.")
    assert turn(form, f"A city.<|end|>{ASSISTANT}{final}", is_inside=True) == Turn("It rains.", "A city.")
    assert turn(form, " and more<|return|>").text == " and more"
    assert turn(form, "to= is a text").text == "to= is a text"
    assert turn(form, "<|channel|>final<|mess").text == ""
    unknown = f"<|channel|>commentary to=functions.unheard_of<|message|>{OSLO}<|call|>"
    assert turn(form, unknown) == Turn(OSLO)
    assert turn(TurnFormat(reasoning=form.reasoning), f"{THOUGHT}{final}").text == "It rains."
    assert turn(TurnFormat(tools=form.tools), f"{THOUGHT}{final}").text == "A city, so weather.\nIt rains."


def test_harmony_keeps_its_marks_and_loses_other_special_tokens() -> None:
    tokens = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>")
    special = {token: number for number, token in enumerate(tokens)}
    form = TurnFormat.of("<|channel|>analysis<|message|> <|channel|>commentary", special)
    assert form.needs_special_tokens
    assert form.removed == {"<|endoftext|>"}
    assert TurnFormat(None, form.reasoning, special).removed == {"<|endoftext|>"}


TEMPLATES = {
    "hermes": "{%- if tools %}For each call return an object within <tool_call></tool_call> tags{% endif %}",
    "llama3": 'Respond in the format {"name": function name, "parameters": dictionary of argument name and value}.',
    "mistral": "{{ '[TOOL_CALLS] [' }}",
    "mistral_named": "{{ '[TOOL_CALLS]' + tool_call.function.name + '[ARGS]' }}",
    "qwen_coder": "within <tool_call></tool_call> tags <tool_call>\\n<function=example>\\n<parameter=one>",
    "function_gemma": "{{ '<start_function_call>call:' + name + '{' }}",
    "gemma4": "{{ '<|tool_call>call:' + name + '{' }}",
    "harmony": "{{ '<|start|>assistant to=functions.' + name + '<|channel|>commentary json<|message|>' }}",
    None: "{% for message in messages %}{{ message.content }}{% endfor %}",
}


@pytest.mark.parametrize("family", TEMPLATES)
def test_the_template_tells_the_family(family: str | None) -> None:
    assert detect_tool_format(TEMPLATES[family]) == family
    assert TurnFormat.of(TEMPLATES[family]).tools == (FAMILIES[family] if family else None)
    assert TurnFormat.of(TEMPLATES[family], tool_format="none").tools is None
    assert TurnFormat.of(TEMPLATES[family], tool_format="plain").tools is FAMILIES["plain"]


def test_every_form_can_be_set() -> None:
    def choices(setting: str) -> set[str]:
        return set(get_args(ModelSettings.model_fields[setting].annotation))

    assert choices("tool_format") == {AUTO, NONE, *FAMILIES}
    assert choices("reasoning_format") == {AUTO, NONE, *THINKING}


def test_both_templates_of_a_model_tell_the_form_of_its_turns() -> None:
    info = fake_info(
        None, chat_template="<think>", tokenizer_switches=TokenizerSwitches(tool_template="[TOOL_CALLS] [ARGS]")
    )
    form = turn_format(info, Settings(), None)
    assert (form.tools, form.reasoning) == (FAMILIES["mistral_named"], THINKING["think"])
    settings = Settings(model={"tool_format": "hermes", "reasoning_format": "none"})
    form = turn_format(info, settings, None)
    assert (form.tools, form.reasoning) == (FAMILIES["hermes"], None)
