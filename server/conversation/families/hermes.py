"""Hermes, Qwen 2.5 and 3, and many others: a JSON object between tags.

<tool_call>
{"name": "weather", "arguments": {"city": "Oslo"}}
</tool_call>
"""

from beamhouse.server.conversation import json_reading
from beamhouse.server.conversation.families.family import Family, Form, read_marked
from beamhouse.server.conversation.source import Reading, Source
from beamhouse.server.conversation.tools import Calls

BEGIN, END = "<tool_call>", "</tool_call>"


def read(source: Source, calls: Calls) -> Reading[None]:
    def read_call(source: Source, marker: str) -> Reading[None]:
        yield from json_reading.call(source, calls)
        yield from source.blanks()
        yield from source.takes(END)

    yield from read_marked(source, [BEGIN], read_call)


FORM = Form(
    f'{BEGIN}\n{{"name": "', '", "arguments": ', f"}}\n{END}", separator="\n", trigger=BEGIN
)  # fmt: skip
HERMES = Family("hermes", (BEGIN, END), (BEGIN,), read, FORM)
