"""FunctionGemma and Gemma 4: a name and arguments in a notation of their own, strings between marks.

<start_function_call>call:weather{city:<escape>Oslo<escape>,days:2}<end_function_call>
<|tool_call>call:weather{city:<|"|>Oslo<|"|>,days:2}<tool_call|>
"""

from functools import partial

from beamhouse.server.conversation import json_reading
from beamhouse.server.conversation.families.family import Family, Form, read_marked
from beamhouse.server.conversation.notations import Notation
from beamhouse.server.conversation.source import Malformed, Pieces, Reading, Source, Waiting
from beamhouse.server.conversation.tools import Calls

CALL = "call:"
MAX_DEPTH = 100
"""Objects and lists inside one another that are read; each is a few frames of Python's stack."""


def read(source: Source, calls: Calls, marks: tuple[str, str, str]) -> Reading[None]:
    """marks: before and behind a call, and on both sides of a string."""
    begin, end, quote = marks

    def read_call(source: Source, marker: str) -> Reading[None]:
        yield from source.expect(CALL)
        name, _ = yield from source.until(["{"])
        tool = calls.known(name.strip())
        yield from json_reading.told(source, calls, tool.name, _arguments(source, quote))
        yield from source.blanks()
        yield from source.takes(end)

    yield from read_marked(source, [begin], read_call)


def _arguments(source: Source, quote: str) -> Pieces[None]:
    """The arguments as JSON, from behind their first bracket, as far as they follow the notation."""
    yield "{"
    try:
        yield from _members(source, quote, 1)
    except Malformed:
        return


def _members(source: Source, quote: str, depth: int) -> Pieces[None]:
    """What stands in an object, up to its end. Raises Malformed."""
    yield from source.blanks()
    separator = ""
    while not (yield from source.takes("}")):
        if separator:
            yield from source.expect(",")
            yield from source.blanks()
        key = yield from _key_or_nothing(source, quote)
        yield f"{separator}{json_reading.in_json(key)}: "
        yield from _value(source, quote, depth)
        yield from source.blanks()
        separator = ", "
    yield "}"


def _items(source: Source, quote: str, depth: int) -> Pieces[None]:
    """What stands in a list, up to its end. Raises Malformed."""
    yield from source.blanks()
    separator = ""
    while not (yield from source.takes("]")):
        if separator:
            yield from source.expect(",")
            yield separator
        yield from _value(source, quote, depth)
        yield from source.blanks()
        separator = ", "
    yield "]"


def _key_or_nothing(source: Source, quote: str) -> Waiting[str]:
    """A name. Where none stands nothing is read, and Malformed is raised."""
    source.mark()
    try:
        key = yield from _key(source, quote)
    except Malformed:
        source.back()
        raise
    source.release()
    return key


def _key(source: Source, quote: str) -> Waiting[str]:
    """A name before its colon, with or without quotes."""
    if (yield from source.takes(quote)):
        key, _ = yield from source.until([quote])
        yield from source.expect(":")
        return key
    key, end = yield from source.until([":", ",", "}", "{", quote])
    if end != ":":
        raise Malformed
    return key.strip()


def _value(source: Source, quote: str, depth: int) -> Pieces[None]:
    """A string, an object, a list, or a word: a number, true, false or null, else a string without its quotes.

    depth: of objects and lists around it. Raises Malformed.
    """
    yield from source.blanks()
    if (yield from source.takes(quote)):
        yield from _string(source, quote)
    elif depth == MAX_DEPTH and source.ahead[:1] in ("{", "["):
        raise Malformed
    elif (yield from source.takes("{")):
        yield "{"
        yield from _members(source, quote, depth + 1)
    elif (yield from source.takes("[")):
        yield "["
        yield from _items(source, quote, depth + 1)
    else:
        yield from _word(source)


def _string(source: Source, quote: str) -> Pieces[None]:
    yield '"'
    end = None
    while end is None:
        text, end = yield from source.piece([quote])
        if not text and end is None:
            raise Malformed
        yield json_reading.piece_in_json(text)
    yield '"'


def _word(source: Source) -> Pieces[None]:
    """What stands without quotes, up to the end of its place; as far as it goes where the text ends inside it."""
    text, end = "", None
    while end is None and (yield from source.more()):
        piece, end = yield from source.piece([",", "}", "]"])
        text += piece
    if end is None:
        yield text.strip()
        raise Malformed
    source.unread(end)
    text = text.strip()
    written = json_reading.PYTHON_WORDS.get(text, text)
    try:
        json_reading.parsed(written)
        yield written
    except Malformed:
        yield json_reading.in_json(text)


def _family(name: str, marks: tuple[str, str, str]) -> Family:
    begin, end, quote = marks
    notation = Notation(quote, ("", ":"), ("", ":"), ",", ("true", "false", "null"))
    form = Form(f"{begin}{CALL}", "{", f"}}{end}", trigger=begin, arguments=notation.arguments)
    return Family(name, marks, (begin,), partial(read, marks=marks), form)


FUNCTION_GEMMA = _family("function_gemma", ("<start_function_call>", "<end_function_call>", "<escape>"))
GEMMA4 = _family("gemma4", ("<|tool_call>", "<tool_call|>", '<|"|>'))
