"""Reads the turn of a model, in whatever pieces it comes."""

from collections.abc import Callable, Collection, Iterable, Iterator

from beamhouse.server.conversation.deltas import Delta, ReasoningDelta, TextDelta
from beamhouse.server.conversation.source import BLANKS, Reading, Source


class TurnReader:
    """Tells what a text means while it arrives. The deltas of any pieces come to the same as those of the whole text.

    read: reads the turn. removed: special tokens that were kept in the text for the sake of others.
    """

    def __init__(self, read: Callable[[Source], Reading[None]], removed: Collection[str] = ()) -> None:
        self._source = Source()
        self._reading = read(self._source)
        self._without = Without(removed)
        self._seams = Seams()

    def push(self, text: str) -> list[Delta]:
        """What this text adds; some of it may only be told with what follows."""
        self._source.push(self._without.push(text))
        return self._seams.tidy(self._advance())

    def finish(self) -> list[Delta]:
        """The rest. Nothing may be pushed afterwards."""
        self._source.push(self._without.finish())
        self._source.finish()
        return self._seams.tidy(self._advance()) + self._seams.finish()

    def _advance(self) -> Iterator[Delta]:
        for delta in self._reading:
            if delta is None:
                return
            yield delta


class Without:
    """A text without some tokens, in pieces."""

    def __init__(self, tokens: Collection[str]) -> None:
        self._tokens = tuple(tokens)
        self._source = Source()

    def push(self, text: str) -> str:
        if not self._tokens:
            return text
        self._source.push(text)
        return "".join(self._kept())

    def finish(self) -> str:
        self._source.finish()
        return "".join(self._kept())

    def _kept(self) -> Iterator[str]:
        reading = self._source.piece(self._tokens)
        while True:
            try:
                next(reading)
                return
            except StopIteration as done:
                text, token = done.value
                if not text and token is None:
                    return
                yield text
                reading = self._source.piece(self._tokens)


class Seams:
    """White space between text, reasoning and calls belongs to none of them, and neighbouring pieces are one.

    A turn that is text alone keeps all of its white space. What goes on behind something else does so in a new line.
    """

    def __init__(self) -> None:
        self._kind: type[Delta] = TextDelta
        self._keeps = True
        self._blanks = ""
        self._told = set[type[Delta]]()

    def tidy(self, deltas: Iterable[Delta]) -> list[Delta]:
        """The deltas that can be told now."""
        told = list[Delta]()
        for delta in deltas:
            if type(delta) is not self._kind:
                self._kind, self._keeps, self._blanks = type(delta), False, ""
            if not isinstance(delta, TextDelta | ReasoningDelta):
                told.append(delta)
            elif text := self._trimmed(delta.text):
                last = told[-1] if told else None
                if isinstance(last, TextDelta | ReasoningDelta) and type(last) is type(delta):
                    told[-1] = type(delta)(last.text + text)
                else:
                    told.append(type(delta)(text))
        return told

    def finish(self) -> list[Delta]:
        """White space at the end of a text is text."""
        return [TextDelta(self._blanks)] if self._blanks and self._kind is TextDelta else []

    def _trimmed(self, text: str) -> str:
        """The text with the white space held back before it, and without that at its end, which is held back.

        White space is kept once something was told of this kind, and at the beginning of the turn.
        """
        whole = self._blanks + text if self._keeps else text.lstrip(BLANKS)
        kept = whole.rstrip(BLANKS)
        self._blanks = whole[len(kept) :]
        if not kept:
            return ""
        goes_on = not self._keeps and self._kind in self._told
        self._keeps = True
        self._told.add(self._kind)
        return f"\n{kept}" if goes_on else kept
