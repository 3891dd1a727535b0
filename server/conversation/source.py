"""A text that is read while it arrives."""

import re
from collections.abc import Generator, Sequence
from functools import cache
from typing import TypeAlias, TypeVar

from beamhouse.server.conversation.deltas import Delta

Result = TypeVar("Result")
Waiting: TypeAlias = Generator[None, None, Result]
"""Reads a `Source`: yields wherever more text is needed to go on."""
Reading: TypeAlias = Generator[Delta | None, None, Result]
"""The same, and yields what was understood."""
Pieces: TypeAlias = Generator[str | None, None, Result]
"""The same, and yields pieces of what was read."""

BLANKS = " \n\r\t"
MOST_AGAIN = 1 << 18
"""So many characters of a turn may be read in vain: what begins as a call a thousand times and never is one must not
cost a thousand times the length of the turn."""

_BLANKS = re.compile(f"[{BLANKS}]*")


class Malformed(Exception):
    """What stands here is not what it began as; nothing of it was said yet, so it is read as text."""


class Source:
    """The text of one sequence as it arrives, and how far it was read. One place can be gone back to."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._mark: int | None = None
        self._num_again = 0
        self.has_ended = False

    def push(self, text: str) -> None:
        """More of the text."""
        done = self._at if self._mark is None else self._mark
        self._text = self._text[done:] + text
        self._at -= done
        self._mark = None if self._mark is None else 0

    def finish(self) -> None:
        """Nothing more comes."""
        self.has_ended = True

    @property
    def ahead(self) -> str:
        """What has arrived and was not read yet."""
        return self._text[self._at :]

    def skip(self, number: int) -> str:
        """Read so many characters of what lies ahead."""
        self._at += number
        return self._text[self._at - number : self._at]

    def mark(self) -> None:
        """Keep what follows, so that `back` returns here."""
        self._mark = self._at

    def back(self) -> None:
        """Return to the mark, which is gone then."""
        assert self._mark is not None
        self._num_again += self._at - self._mark
        self._at, self._mark = self._mark, None

    def release(self) -> None:
        """What was read since the mark is needed no more."""
        self._mark = None

    def spend(self, number: int) -> None:
        """So many characters are read once more. Raises Malformed where that were too many by now."""
        self._num_again += number
        if self.is_tired:
            raise Malformed

    @property
    def is_tired(self) -> bool:
        """Whether so much was read in vain that all the rest is taken as it stands."""
        return self._num_again > MOST_AGAIN

    def more(self) -> Waiting[bool]:
        """Wait for text ahead; False where the text ends here."""
        while self._at == len(self._text):
            if self.has_ended:
                return False
            yield None
        return True

    def piece(self, markers: Sequence[str]) -> Waiting[tuple[str, str | None]]:
        """Text up to the first marker, and that marker, which is read too; or text that no marker can be part of yet.

        Of markers that begin at the same place the longest counts, if nothing but it can still arrive. Both empty
        and None: the text has ended.
        """
        sought = _markers(tuple(markers))
        while True:
            found, begun = sought.pattern.search(self._text, self._at), sought.begun(self._text, self._at)
            if found is not None and (self.has_ended or found.start() < begun):
                return self.skip(found.end() - self._at)[: found.start() - found.end()], found[0]
            if begun > self._at or self.has_ended:
                return self.skip((len(self._text) if self.has_ended else begun) - self._at), None
            yield None

    def until(self, markers: Sequence[str]) -> Waiting[tuple[str, str]]:
        """All text up to the first marker, and that marker. Raises Malformed where none comes."""
        text, marker = "", None
        while marker is None:
            piece, marker = yield from self.piece(markers)
            if not piece and marker is None:
                raise Malformed
            text += piece
        return text, marker

    def unread(self, text: str) -> None:
        """Go back over what was read last."""
        self._at -= len(text)

    def blanks(self) -> Waiting[None]:
        """Read white space, as far as it goes."""
        while (yield from self.more()):
            match = _BLANKS.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text):
                return

    def takes(self, literal: str) -> Waiting[bool]:
        """Read this text if it stands here."""
        while not self._text.startswith(literal, self._at):
            if self.has_ended or not literal.startswith(self._text[self._at : self._at + len(literal)]):
                return False
            yield None
        self.skip(len(literal))
        return True

    def expect(self, literal: str) -> Waiting[None]:
        """Read white space and then this text. Raises Malformed if something else stands there."""
        yield from self.blanks()
        if not (yield from self.takes(literal)):
            raise Malformed


class _Markers:
    """What is looked for in a text: the first of some markers, at one place the longest."""

    def __init__(self, markers: Sequence[str]) -> None:
        ordered = sorted(markers, key=len, reverse=True)
        # Without any marker nothing is ever found.
        self.pattern = re.compile("|".join(map(re.escape, ordered)) or r"(?!)")
        self._beginnings = frozenset(marker[:length] for marker in markers for length in range(1, len(marker)))
        self._longest = max(map(len, markers), default=1)

    def begun(self, text: str, start: int) -> int:
        """Where something stands at the end that more text could make a marker; the length where there is nothing."""
        places = range(max(start, len(text) - self._longest + 1), len(text))
        return next((at for at in places if text[at:] in self._beginnings), len(text))


@cache
def _markers(markers: tuple[str, ...]) -> _Markers:
    return _Markers(markers)
