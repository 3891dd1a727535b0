"""GPT-OSS: messages with a head that names a channel and perhaps a recipient.

<|channel|>analysis<|message|>A city, so weather.<|end|><|start|>assistant<|channel|>commentary
to=functions.weather <|constrain|>json<|message|>{"city": "Oslo"}<|call|>
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from beamhouse.server.conversation import json_reading
from beamhouse.server.conversation.deltas import Delta, TextDelta
from beamhouse.server.conversation.families.family import Family, Form
from beamhouse.server.conversation.source import Malformed, Reading, Source, Waiting
from beamhouse.server.conversation.tools import Calls

START, CHANNEL, CONSTRAIN, MESSAGE = "<|start|>", "<|channel|>", "<|constrain|>", "<|message|>"
ENDS = ("<|end|>", "<|call|>", "<|return|>")
RECIPIENT = "to="
ASSISTANT = "assistant"
THOUGHTS, PREAMBLE, FINAL = (f"{CHANNEL}{name}{MESSAGE}" for name in ("analysis", "commentary", "final"))
"""How messages begin: thoughts, what is said before a call, and the answer. A prompt may end with one of them."""

_ANALYSIS = re.compile(re.escape(CHANNEL) + r"\s*analysis\b")
_FUNCTION = re.compile(re.escape(RECIPIENT) + r"functions\.([^\s<]+)")

Say = Callable[[str], Delta]


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before a message."""

    text: str

    @property
    def thinks(self) -> bool:
        """Whether its message is a thought, unless it is a call; on all other channels it is text."""
        return _ANALYSIS.search(self.text) is not None

    @property
    def function(self) -> str | None:
        """The function that is called."""
        match = _FUNCTION.search(self.text)
        return match[1] if match else None


def read(source: Source, calls: Calls) -> Reading[None]:
    yield from read_turn(source, calls, TextDelta, is_inside=False)


def read_turn(source: Source, calls: Calls, think: Say, is_inside: bool) -> Reading[None]:
    """All messages of a turn. think: how thoughts are told. is_inside: the prompt has begun them.

    The prompt usually ends in the middle of a head; a turn that goes on otherwise continues a text.
    """
    if is_inside:
        yield from _say(source, think)
    is_first = True
    while (yield from source.more()):
        head = yield from _head(source)
        if head.function is not None and (yield from _call(source, calls, head.function)):
            continue
        say = think if head.thinks else TextDelta
        if not is_first:
            yield say("\n")
        yield from _say(source, say)
        is_first = False


def _head(source: Source) -> Waiting[_Head]:
    """The next head, up to its message; empty where none stands here. A head without a message says nothing."""
    source.mark()
    yield from source.blanks()
    for begin in (START, CHANNEL, CONSTRAIN, MESSAGE, RECIPIENT):
        if (yield from source.takes(begin)):
            source.unread(begin)
            return (yield from _begun_head(source, begin))
    source.back()
    return _Head("")


def _begun_head(source: Source, begin: str) -> Waiting[_Head]:
    try:
        text, _ = yield from source.until([MESSAGE])
        source.release()
    except Malformed:
        if begin == RECIPIENT:
            source.back()
        else:
            source.release()
        return _Head("")
    return _Head(text)


def _say(source: Source, say: Say) -> Reading[None]:
    """A message, up to its end or to the next head."""
    end: str | None = None
    while end is None and (yield from source.more()):
        text, end = yield from source.piece((START, CHANNEL, *ENDS))
        if text:
            yield say(text)
    if end == CHANNEL:
        source.unread(end)


def _call(source: Source, calls: Calls, name: str) -> Reading[bool]:
    """A message that is a call of an offered tool; False, and nothing read, where it is none."""
    source.mark()
    try:
        tool = calls.known(name)
        yield from source.expect("{")
    except Malformed:
        source.back()
        return False
    yield from json_reading.told(source, calls, tool.name, json_reading.opened(source))
    yield from _say(source, TextDelta)
    return True


FORM = Form(f"{CHANNEL}commentary {RECIPIENT}functions.", f" {CONSTRAIN}json{MESSAGE}", is_single=True)
HARMONY = Family("harmony", (START, CHANNEL, CONSTRAIN, MESSAGE, *ENDS), (f"{CHANNEL}commentary",), read, FORM)
