"""A turn that is nothing but calls, as JSON objects: Llama 3, and models that were never taught a form.

{"name": "weather", "parameters": {"city": "Oslo"}}; {"name": "time", "parameters": {}}
"""

from beamhouse.server.conversation import json_reading
from beamhouse.server.conversation.families.family import Family, read_marked
from beamhouse.server.conversation.source import Malformed, Reading, Source
from beamhouse.server.conversation.tools import Calls

PYTHON_TAG = "<|python_tag|>"
SEPARATOR = ";"


def read(source: Source, calls: Calls) -> Reading[None]:
    """Calls at the beginning of the turn, and in Llama's turns behind its tag; an object elsewhere is text."""

    def read_calls(source: Source, marker: str) -> Reading[None]:
        yield from json_reading.call(source, calls)
        while (yield from _another(source, calls)):
            pass

    source.mark()
    try:
        yield from read_calls(source, "")
        source.release()
    except Malformed:
        source.back()
    yield from read_marked(source, [PYTHON_TAG], read_calls)


def _another(source: Source, calls: Calls) -> Reading[bool]:
    """Read one more call, with the white space or separator before it. What is none is left as it is."""
    source.mark()
    try:
        yield from source.blanks()
        yield from source.takes(SEPARATOR)
        yield from json_reading.call(source, calls)
        source.release()
        return True
    except Malformed:
        source.back()
        return False


LLAMA3 = Family("llama3", (PYTHON_TAG,), (PYTHON_TAG, '{"name": function name, "parameters"'), read)
PLAIN = Family("plain", (), (), read)
