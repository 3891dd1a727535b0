"""JSON that is read while it arrives: values passed on as they are written, and calls as objects with a name."""

import json
import re
from typing import Any

from beamhouse.server.conversation.source import Malformed, Pieces, Reading, Source, Waiting
from beamhouse.server.conversation.tools import Calls

ARGUMENTS = ("arguments", "parameters")
"""Keys under which the families put the arguments of a call."""

PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
"""What models write in Python's words where JSON has others."""

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'\\.|"', re.DOTALL)
_ENDS_IN_STRING = ('"', "\\")
_HALF = re.compile("[\ud800-\udfff]")
_SCALAR_END = re.compile(r"[\s,}\]]")


def nested(source: Source, depth: int = 0) -> Pieces[None]:
    """An object or a list, as it is written, up to the bracket that closes its first one, or to the end of the text."""
    in_string = False
    while True:
        ahead, at, is_closed = source.ahead, 0, False
        while not is_closed and (match := (_INSIDE if in_string else _OUTSIDE).search(ahead, at)) is not None:
            at = match.end()
            if match[0] == '"':
                in_string = not in_string
            elif not in_string:
                depth += 1 if match[0] in "{[" else -1
                is_closed = depth == 0
        # A backslash at the end is half of an escape.
        is_half = in_string and not source.has_ended and at < len(ahead) and ahead.endswith("\\")
        end = at if is_closed else len(ahead) - is_half
        if end:
            yield source.skip(end)
        if is_closed or source.has_ended:
            return
        yield None


def opened(source: Source) -> Pieces[None]:
    """The same of an object whose first bracket was read already."""
    yield "{"
    yield from nested(source, depth=1)


def whole_nested(source: Source) -> Waiting[str]:
    """All of an object or a list. Raises Malformed where the text ends inside it."""
    text = ""
    for piece in nested(source):
        if piece is None:
            yield None
        else:
            text += piece
    if not _is_json(text):
        raise Malformed
    return text


def string(source: Source) -> Waiting[str]:
    """A string, decoded. Raises Malformed."""
    if not (yield from source.takes('"')):
        raise Malformed
    written = '"'
    while (yield from source.more()):
        piece, end = yield from source.piece(_ENDS_IN_STRING)
        written += piece + (end or "")
        if end == '"':
            return str(_decoded(written))
        if end is not None and (yield from source.more()):
            written += source.skip(1)
    raise Malformed


def value(source: Source) -> Waiting[str]:
    """Any value, as JSON. Raises Malformed."""
    yield from source.blanks()
    if not (yield from source.more()):
        raise Malformed
    if source.ahead[0] in "{[":
        return (yield from whole_nested(source))
    if source.ahead[0] == '"':
        return in_json((yield from string(source)))
    while (match := _SCALAR_END.search(source.ahead)) is None:
        if source.has_ended:
            raise Malformed
        yield None
    written = source.skip(match.start())
    _decoded(written)
    return written


def call(source: Source, calls: Calls) -> Reading[None]:
    """A call as an object: its name, and its arguments under one of `ARGUMENTS`, in any order, perhaps beside others.

    It begins as soon as the name of an offered tool and the beginning of its arguments were read; from then on the
    arguments are passed on as they are written, be they right or wrong. Before that it is Malformed.
    """
    yield from source.expect("{")
    name, early = "", None
    while True:
        yield from source.blanks()
        key = yield from string(source)
        yield from source.expect(":")
        yield from source.blanks()
        if key == "name" and not name:
            name = calls.known((yield from string(source))).name
        elif key in ARGUMENTS and early is None:
            if name and (yield from source.more()) and source.ahead[0] == "{":
                break
            early = _object_text((yield from value(source)))
        else:
            yield from value(source)
        if not (yield from _has_next(source)):
            yield from told(source, calls, calls.known(name).name, iter_text(early or "{}"))
            return
    yield from told(source, calls, name, nested(source))
    yield from _rest(source)


def told(source: Source, calls: Calls, name: str, pieces: Pieces[None]) -> Reading[None]:
    """A call of which the arguments stand here, read in pieces."""
    yield calls.begin(name)
    source.release()
    for piece in pieces:
        yield None if piece is None else calls.arguments(piece)
    yield calls.end()


def iter_text(text: str) -> Pieces[None]:
    """A text that is known already, as its only piece."""
    yield text


def another(source: Source, calls: Calls, separator: str) -> Reading[bool]:
    """Read one more call, with the white space and perhaps the separator before it. What is none is left as it is."""
    if source.is_tired:
        return False
    source.mark()
    try:
        yield from source.blanks()
        yield from source.takes(separator)
        yield from call(source, calls)
        source.release()
        return True
    except Malformed:
        source.back()
        return False


def _has_next(source: Source) -> Waiting[bool]:
    """Whether another member of the object follows. Raises Malformed where it neither goes on nor ends."""
    yield from source.blanks()
    if (yield from source.takes(",")):
        return True
    yield from source.expect("}")
    return False


def _rest(source: Source) -> Waiting[None]:
    """Read what follows the arguments in the object of a call. What is wrong there is left as text."""
    source.mark()
    try:
        while (yield from _has_next(source)):
            yield from source.blanks()
            yield from string(source)
            yield from source.expect(":")
            yield from value(source)
        source.release()
    except Malformed:
        source.back()


def _object_text(written: str) -> str:
    """Arguments that could not be passed on as they came. Raises Malformed unless they are an object.

    Some models write the object as a string that holds its JSON, and nothing as null.
    """
    read = _decoded(written)
    if read is None:
        return "{}"
    if isinstance(read, str):
        written, read = read, _decoded(read)
    if not isinstance(read, dict):
        raise Malformed
    return _encodable(written)


def in_json(value: Any) -> str:
    """A value as JSON that can be sent. Raises ValueError or TypeError for what JSON has no way to write."""
    return _encodable(json.dumps(value, ensure_ascii=False, allow_nan=False))


def piece_in_json(text: str) -> str:
    """A piece of a string, without the quotes."""
    return in_json(text)[1:-1]


def parsed(text: str) -> Any:
    """The value of strict JSON, all numbers as floats, since integers of any length are right. Raises Malformed."""
    try:
        return json.loads(text, parse_int=float, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Malformed from error


def _refuse(constant: str) -> None:
    raise Malformed(constant)


def _encodable(written: str) -> str:
    """JSON in which halves of pairs stand as escapes: no text that holds one can be sent."""
    return _HALF.sub(lambda match: f"\\u{ord(match[0]):04x}", written)


def _is_json(text: str) -> bool:
    try:
        _decoded(text)
    except Malformed:
        return False
    return True


def _decoded(text: str) -> Any:
    """The value that a model means, also where it writes more than JSON allows. Raises Malformed."""
    try:
        return json.loads(text, strict=False, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise Malformed from error
