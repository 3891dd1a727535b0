"""A text that is read while it arrives."""

from collections.abc import Generator, Sequence
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


class Malformed(Exception):
    """What stands here is not what it began as; nothing of it was said yet, so it is read as text."""


class Source:
    """The text of one sequence as it arrives, and how far it was read. One place can be gone back to."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._mark: int | None = None
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
        self._at, self._mark = self._mark, None

    def release(self) -> None:
        """What was read since the mark is needed no more."""
        self._mark = None

    def more(self) -> Waiting[bool]:
        """Wait for text ahead; False where the text ends here."""
        while not self.ahead:
            if self.has_ended:
                return False
            yield None
        return True

    def piece(self, markers: Sequence[str]) -> Waiting[tuple[str, str | None]]:
        """Text up to the first marker, and that marker, which is read too; or text that no marker can be part of yet.

        Of markers that begin at the same place the longest counts, if nothing but it can still arrive. Both empty
        and None: the text has ended.
        """
        while True:
            ahead = self.ahead
            found = [(at, -len(marker), marker) for marker in markers if (at := ahead.find(marker)) >= 0]
            begun = self._begun(ahead, markers)
            if found and (self.has_ended or min(found)[0] < begun):
                at, _, marker = min(found)
                return self.skip(at + len(marker))[:at], marker
            if begun or self.has_ended:
                return self.skip(len(ahead) if self.has_ended else begun), None
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

    def before(self, ends: Sequence[str]) -> Waiting[str]:
        """All text up to the first of these characters, which is left. Raises Malformed where none comes."""
        text, end = yield from self.until(ends)
        self.unread(end)
        return text

    def unread(self, text: str) -> None:
        """Go back over what was read last."""
        self._at -= len(text)

    def _begun(self, ahead: str, markers: Sequence[str]) -> int:
        """Where something stands at the end that more text could make a marker; the length where there is nothing."""
        longest = max(map(len, markers), default=1)
        for at in range(max(0, len(ahead) - longest + 1), len(ahead)):
            if any(len(marker) > len(ahead) - at and marker.startswith(ahead[at:]) for marker in markers):
                return at
        return len(ahead)

    def blanks(self) -> Waiting[None]:
        """Read white space, as far as it goes."""
        while (yield from self.more()):
            ahead = self.ahead
            rest = ahead.lstrip(BLANKS)
            self.skip(len(ahead) - len(rest))
            if rest:
                return

    def takes(self, literal: str) -> Waiting[bool]:
        """Read this text if it stands here."""
        while not (ahead := self.ahead).startswith(literal):
            if self.has_ended or not literal.startswith(ahead):
                return False
            yield None
        self.skip(len(literal))
        return True

    def expect(self, literal: str) -> Waiting[None]:
        """Read white space and then this text. Raises Malformed if something else stands there."""
        yield from self.blanks()
        if not (yield from self.takes(literal)):
            raise Malformed
