"""Reads a text as a model's turn in all possible pieces, which have to come to the same."""

from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

from beamhouse.server.conversation.deltas import CallBegin, CallEnd, Delta, Turn, joined
from beamhouse.server.conversation.tools import Tool, call_ids
from beamhouse.server.conversation.turn_format import TurnFormat

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = {tool.name: tool for tool in (Tool("weather", WEATHER), Tool("clock"))}
PIECES = st.sampled_from([
    "<tool_call>", "</tool_call>", '{"name": "weather", ', '"arguments": {', '"parameters": ', "}", "{", "[", "]", '"',
    "\\", "\n", " ", "weather", "clock", "<think>", "</think>", "ho", "\u00e9\U0001f30d", ",", ":", "1", ";", "null",
    "<|python_tag|>", '"name"', '"city": "Oslo"', "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<function=weather>",
    "<parameter=city>", "</parameter>", "</function>", "```", "tool_code", 'weather(city="Oslo")', "(", ")", "=",
    "<start_function_call>", "call:weather{", "<escape>", "<end_function_call>", "<|channel|>", "analysis", "final",
    "commentary", " to=functions.weather", "<|message|>", "<|call|>", "<|end|>", "<|start|>assistant", "<|return|>",
    "<|tool_call>", '<|"|>', "<tool_call|>", "city", "json", "[THINK]", "[/THINK]",
])  # fmt: skip
"""What the marks of all families, and what stands between them, are put together from."""


def deltas(form: TurnFormat, pieces: Sequence[str], **options: Any) -> list[Delta]:
    reader = form.reader(TOOLS, call_ids("a"), **options)
    return [delta for piece in pieces for delta in reader.push(piece)] + reader.finish()


def turn(form: TurnFormat, text: str, **options: Any) -> Turn:
    """The turn that this text is, whatever its pieces: each single cut, one character at a time, and none."""
    whole = deltas(form, [text], **options)
    check_calls(whole)
    for pieces in cuts(text):
        told = deltas(form, pieces, **options)
        assert joined(told) == joined(whole), pieces
        check_calls(told)
    return joined(whole)


def cuts(text: str) -> Iterator[list[str]]:
    yield list(text)
    yield from ([text[:at], text[at:]] for at in range(1, len(text)))


def check_calls(told: list[Delta]) -> None:
    """Calls are numbered from 0, none begins inside another, and each one ends."""
    marks = [(type(delta), delta.index) for delta in told if isinstance(delta, CallBegin | CallEnd)]
    assert marks == [(kind, index) for index in range(len(marks) // 2) for kind in (CallBegin, CallEnd)]
