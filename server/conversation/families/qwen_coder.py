"""Qwen3-Coder and Qwen 3.5: tags for the function and for each parameter, values as plain text.

<tool_call>
<function=weather>
<parameter=city>
Oslo
</parameter>
</function>
</tool_call>
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from beamhouse.server.conversation import json_reading
from beamhouse.server.conversation.families.family import Family, Form, read_marked
from beamhouse.server.conversation.notations import choices_of, tagged_arguments
from beamhouse.server.conversation.source import Malformed, Pieces, Reading, Source, Waiting
from beamhouse.server.conversation.tools import Calls, Tool

BEGIN, END = "<tool_call>", "</tool_call>"
FUNCTION, FUNCTION_END = "<function=", "</function>"
PARAMETER, PARAMETER_END = "<parameter=", "</parameter>"
TAG_END = ">"
VALUE_ENDS = tuple(f"{line_end}{PARAMETER_END}" for line_end in ("\r\n", "\n", ""))


def read(source: Source, calls: Calls) -> Reading[None]:
    def read_call(source: Source, marker: str) -> Reading[None]:
        if marker == BEGIN:
            yield from source.expect(FUNCTION)
        name, _ = yield from source.until([TAG_END])
        tool = calls.known(name.strip())
        yield from source.blanks()
        if (yield from source.takes(FUNCTION_END)):
            yield from json_reading.told(source, calls, tool.name, json_reading.iter_text("{}"))
        else:
            yield from source.expect(PARAMETER)
            yield from json_reading.told(source, calls, tool.name, _parameters(source, tool))
        yield from source.blanks()
        yield from source.takes(END)

    yield from read_marked(source, [BEGIN, FUNCTION], read_call)


def _parameters(source: Source, tool: Tool) -> Pieces[None]:
    """The parameters as JSON, the first of them from behind its `<parameter=`."""
    separator = "{"
    while True:
        try:
            name, _ = yield from source.until([TAG_END])
        except Malformed:
            return
        yield f"{separator}{json_reading.in_json(name.strip())}: "
        yield from _line_end(source)
        is_whole = yield from _value(source, tool.schemas.get(name.strip(), {}))
        if not is_whole:
            return
        yield from source.blanks()
        separator = ", "
        if not (yield from source.takes(PARAMETER)):
            break
    yield from source.takes(FUNCTION_END)
    yield "}"


def _line_end(source: Source) -> Waiting[None]:
    """What parts a tag from the value behind it."""
    if not (yield from source.takes("\n")):
        yield from source.takes("\r\n")


def _value(source: Source, schema: Mapping[str, Any]) -> Pieces[bool]:
    """A value as JSON, strings as they come; False if the text ends inside it, then as far as it goes."""
    is_text, whole, end = _is_text(schema), "", None
    if is_text:
        yield '"'
    while end is None and (yield from source.more()):
        piece, end = yield from source.piece(VALUE_ENDS)
        whole += piece
        if is_text and piece:
            yield json_reading.piece_in_json(piece)
    if not is_text:
        yield whole if end is None else _as_json(whole, schema)
    elif end is not None:
        yield '"'
    return end is not None


def _is_text(schema: Mapping[str, Any]) -> bool:
    """Whether a value can be nothing but a string."""
    choices = choices_of(schema)
    return schema.get("type") == "string" or (bool(choices) and all(isinstance(choice, str) for choice in choices))


def _as_json(text: str, schema: Mapping[str, Any]) -> str:
    """A value that may be something else than a string; what is no JSON is one, and so is what is neither a string nor
    null in JSON, nor listed, where the schema allows strings too."""
    written = json_reading.PYTHON_WORDS.get(text.strip(), text.strip())
    kinds = schema.get("type")
    try:
        value = json_reading.parsed(written)
    except Malformed:
        return json_reading.in_json(text)
    is_other = value is None or value in choices_of(schema)
    is_string = isinstance(kinds, list) and "string" in kinds and not (isinstance(value, str) or is_other)
    return json_reading.in_json(text) if is_string else written


MARKS = (BEGIN, END, FUNCTION, FUNCTION_END, PARAMETER, PARAMETER_END)
FORM = Form(
    f"{BEGIN}\n{FUNCTION}", f"{TAG_END}\n", f"{FUNCTION_END}\n{END}", separator="\n", trigger=BEGIN,
    arguments=partial(tagged_arguments, begin=(PARAMETER, f"{TAG_END}\n"), end=("\n", PARAMETER_END, "\n")),
)  # fmt: skip
QWEN_CODER = Family("qwen_coder", MARKS, (FUNCTION,), read, FORM)
