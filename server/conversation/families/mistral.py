"""Mistral: a list of objects behind a mark, or since the Tekken tokenizers a mark for each call.

[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Oslo"}}]
[TOOL_CALLS]weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]clock[CALL_ID]a1b2c3d4e[ARGS]{}
"""

from beamhouse.server.conversation import json_reading
from beamhouse.server.conversation.families.family import Family, Form, read_marked
from beamhouse.server.conversation.source import Reading, Source
from beamhouse.server.conversation.tools import Calls

BEGIN, ARGS, CALL_ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
SEPARATOR = ","


def read(source: Source, calls: Calls) -> Reading[None]:
    def read_call(source: Source, marker: str) -> Reading[None]:
        yield from source.blanks()
        if (yield from source.takes("[")):
            yield from json_reading.call(source, calls)
            while (yield from json_reading.another(source, calls, SEPARATOR)):
                pass
            yield from source.blanks()
            yield from source.takes("]")
        else:
            yield from _named(source, calls)

    yield from read_marked(source, [BEGIN], read_call)


def _named(source: Source, calls: Calls) -> Reading[None]:
    """A call as a name and arguments. The mark of the arguments may be missing, and the model's own id is not used."""
    name, mark = yield from source.until([ARGS, CALL_ID, "{"])
    tool = calls.known(name.strip())
    if mark == CALL_ID:
        _, mark = yield from source.until([ARGS, "{"])
    if mark == ARGS:
        yield from source.expect("{")
    yield from json_reading.told(source, calls, tool.name, json_reading.opened(source))


LIST_FORM = Form(
    '{"name": "', '", "arguments": ', "}", opening=f"{BEGIN} [", separator=f"{SEPARATOR} ", closing="]", trigger=BEGIN
)  # fmt: skip
NAMED_FORM = Form(BEGIN, ARGS, trigger=BEGIN)
MISTRAL = Family("mistral", (BEGIN, ARGS, CALL_ID), (BEGIN,), read, LIST_FORM, id_len=9)
MISTRAL_NAMED = Family("mistral_named", (BEGIN, ARGS, CALL_ID), (ARGS,), read, NAMED_FORM, id_len=9)
