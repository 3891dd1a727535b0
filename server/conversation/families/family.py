"""What every form of calls has in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from beamhouse.server.conversation.deltas import TextDelta
from beamhouse.server.conversation.lark import Rules
from beamhouse.server.conversation.notations import json_arguments
from beamhouse.server.conversation.source import Malformed, Reading, Source
from beamhouse.server.conversation.tools import Calls, Tool

WriteArguments: TypeAlias = Callable[[Rules, Tool], str]


@dataclass(frozen=True, slots=True)
class Form:
    """How calls are written: `opening`, one call or several parted by `separator`, `closing`.

    A call is `begin`, its name, `middle`, its arguments, `end`. trigger: what begins calls in the middle of a text;
    empty where only a whole turn can be calls. is_single: a turn holds one call at most.
    """

    begin: str
    middle: str
    end: str = ""
    opening: str = ""
    separator: str = ""
    closing: str = ""
    trigger: str = ""
    is_single: bool = False
    arguments: WriteArguments = json_arguments


@dataclass(frozen=True, slots=True)
class Family:
    """How the models of one family write calls of tools.

    markers: what they write around them; where a tokenizer has one of these as a special token, special tokens have to
    be kept in the text. in_template: any of these in a chat template tells that the model is one of the family.
    read: tells a whole turn, after the reasoning. form: in which calls can be forced. id_len: letters and digits in
    the id of a call; None: any id will do.
    """

    name: str
    markers: tuple[str, ...]
    in_template: tuple[str, ...]
    read: Callable[[Source, Calls], Reading[None]]
    form: Form
    id_len: int | None = None


def read_marked(
    source: Source, markers: Sequence[str], read_call: Callable[[Source, str], Reading[None]]
) -> Reading[None]:
    """Text with calls that begin at a marker; a marker that no call follows is text, and so is what follows it, and all
    the rest of a turn in which that happened too often.

    read_call: reads what stands behind the marker, and raises Malformed before it has told anything.
    """
    while True:
        text, marker = yield from source.piece(markers)
        if text:
            yield TextDelta(text)
        if marker is not None and source.is_tired:
            yield TextDelta(marker)
        elif marker is not None:
            source.mark()
            try:
                yield from read_call(source, marker)
                source.release()
            except Malformed:
                source.back()
                yield TextDelta(marker)
        elif not text:
            return


def read_text(source: Source) -> Reading[None]:
    """A turn without calls."""
    while (yield from source.more()):
        yield TextDelta(source.skip(len(source.ahead)))
