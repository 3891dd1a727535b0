"""A turn that is nothing but calls, as JSON objects: Llama 3, and models that were never taught a form.

{"name": "weather", "parameters": {"city": "Oslo"}}; {"name": "time", "parameters": {}}
"""

from beamhouse.server.conversation import json_reading
from beamhouse.server.conversation.families.family import Family, Form, read_marked
from beamhouse.server.conversation.source import Malformed, Reading, Source
from beamhouse.server.conversation.tools import Calls

PYTHON_TAG = "<|python_tag|>"
SEPARATOR = ";"


def read(source: Source, calls: Calls) -> Reading[None]:
    """Calls at the beginning of the turn, and in Llama's turns behind its tag; an object elsewhere is text."""

    def read_calls(source: Source, marker: str) -> Reading[None]:
        yield from json_reading.call(source, calls)
        while (yield from json_reading.another(source, calls, SEPARATOR)):
            pass

    source.mark()
    try:
        yield from read_calls(source, "")
        source.release()
    except Malformed:
        source.back()
    yield from read_marked(source, [PYTHON_TAG], read_calls)


LLAMA3 = Family(
    "llama3", (PYTHON_TAG,), (PYTHON_TAG, '{"name": function name, "parameters"'), read,
    Form('{"name": "', '", "parameters": ', "}", separator=f"{SEPARATOR} "),
)  # fmt: skip
PLAIN = Family("plain", (), (), read, Form('{"name": "', '", "arguments": ', "}", separator="\n"))
