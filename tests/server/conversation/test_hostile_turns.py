"""Turns that no model should write: long, deep, cut off, and with values that JSON has no way to write."""

import time
from itertools import product

import pytest

from beamhouse.server.conversation.deltas import Turn, joined
from beamhouse.server.conversation.tools import Tool, call_ids
from beamhouse.server.conversation.turn_format import FAMILIES, TurnFormat
from tests.server.conversation.cutting import deltas, turn

LENGTH = 100_000
REPEATED = [
    "<tool_call>", '<tool_call>{"x": [', '<tool_call>{"name": "', '<tool_call>{"arguments": {"a": ', "<function=",
    "[TOOL_CALLS]", '[TOOL_CALLS][{"x": [', "[TOOL_CALLS]weather[CALL_ID]", "<|tool_call>call:",
    "<start_function_call>call:", '<|python_tag|>{"x": [', "```tool_code\n", '```tool_code\nf("',
    "```tool_code\nf(``` ",
    "to=functions.weather<|end|>", "<|channel|>", "{", "\\",
]  # fmt: skip
BEGINNINGS = {
    "gemma4": "<|tool_call>call:weather{a:",
    "function_gemma": "<start_function_call>call:weather{a:",
    "hermes": '<tool_call>{"x": ',
    "qwen_coder": "<function=weather><parameter=days>",
    "tool_code": "```tool_code\nweather(",
    "mistral": "[TOOL_CALLS]weather[ARGS]",
}


def form_of(family: str) -> TurnFormat:
    return TurnFormat.of(None, tool_format=family)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_begins_a_call_again_and_again_takes_no_longer_for_it(family: str) -> None:
    form = form_of(family)
    for unit in REPEATED:
        text = unit * (LENGTH // len(unit))
        begin = time.process_time()
        told = joined(deltas(form, [text]))
        # Once read, or a few times, it takes milliseconds; read again at each mark, minutes.
        assert time.process_time() - begin < 3, unit
        assert told.calls or told.text or family == "harmony"


@pytest.mark.parametrize(("family", "bracket"), list(product(BEGINNINGS, ("[", "{", "{a:", '{"a":', "(", "-"))))
def test_no_depth_is_too_much_to_read(family: str, bracket: str) -> None:
    told = joined(deltas(form_of(family), [BEGINNINGS[family] + bracket * 50_000]))
    assert told.calls or told.text


def test_a_name_of_any_depth_is_a_name() -> None:
    text = f"```tool_code\nweather{'.a' * 500}()\n```"
    assert turn_of("tool_code", text) == Turn(text)


def turn_of(family: str, text: str) -> Turn:
    return joined(deltas(form_of(family), [text]))


@pytest.mark.parametrize(
    ("family", "text", "arguments"),
    [
        ("tool_code", '```tool_code\nweather(city="\\ud800")\n```', '{"city": "\\ud800"}'),
        ("hermes", '<tool_call>{"arguments": "{\\"a\\": \\"\\ud800\\"}", "name": "weather"}', '{"a": "\\ud800"}'),
        ("gemma4", "<|tool_call>call:weather{days:NaN}<tool_call|>", '{"days": "NaN"}'),
        ("qwen_coder", "<function=weather>\n<parameter=days>\nNaN\n</parameter>\n</function>", '{"days": "NaN"}'),
    ],
)
def test_arguments_that_were_written_otherwise_are_json_that_can_be_sent(
    family: str, text: str, arguments: str
) -> None:
    (call,) = turn(form_of(family), text).calls
    assert call.arguments == arguments
    assert call.arguments.encode()


def test_what_json_has_no_number_for_is_no_call() -> None:
    text = "```tool_code\nweather(days=1e999)\n```"
    assert turn(form_of("tool_code"), text) == Turn(text)


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("hermes", '<tool_call>{{"arguments": {{"days": {}}}, "name": "weather"}}'),
        ("qwen_coder", "<function=weather>\n<parameter=days>\n{}\n</parameter>\n</function>"),
        ("gemma4", "<|tool_call>call:weather{{days:{}}}"),
    ],
)
def test_numbers_keep_all_their_digits(family: str, text: str) -> None:
    number = "9" * 5000
    (call,) = turn_of(family, text.format(number)).calls
    assert call.arguments == f'{{"days": {number}}}'


def test_lines_may_end_as_on_windows() -> None:
    lines = ["<tool_call>", "<function=weather>", "<parameter=city>", "Os", "lo", "</parameter>", "</function>"]
    assert turn(form_of("qwen_coder"), "\r\n".join(lines)).calls[0].values == {"city": "Os\r\nlo"}


def test_gemma_what_follows_no_notation_is_text_and_a_value_goes_as_far_as_it_was_written() -> None:
    form = form_of("gemma4")
    told = turn(form, "<|tool_call>call:weather{days:2,city {lost}<tool_call|> and more")
    assert (told.text, told.calls[0].arguments) == ("city {lost}<tool_call|> and more", '{"days": 2')
    assert turn(form, "<|tool_call>call:weather{days:12").calls[0].arguments == '{"days": 12'


def test_a_listed_value_beside_strings_stays_what_it_is() -> None:
    schema = {
        "properties": {"size": {"type": ["string", "integer"], "enum": ["s", 7]}, "a": {"type": ["string", "null"]}}
    }
    tools = {"fit": Tool("fit", schema)}
    text = "<function=fit>\n<parameter=size>\n7\n</parameter>\n<parameter=a>\n7\n</parameter>\n</function>"
    reader = form_of("qwen_coder").reader(tools, call_ids("a"))
    assert joined(reader.push(text) + reader.finish()).calls[0].values == {"size": 7, "a": "7"}
