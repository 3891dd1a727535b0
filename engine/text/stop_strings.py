"""Text that ends before the stop string: while a sequence grows, what may still become one is not shown.

Stop strings are matched in the bytes that tokens stand for, as the engine matches them, so that whole tokens are held
back: all from the one on in which a stop string may have begun. What is shown is therefore never taken back, and none
of it belongs to the stop string, whatever the decoder makes of the bytes.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from beamhouse.engine.text.text_stream import TextStream


@dataclass(slots=True)
class Begun:
    """How much of one stop string the text so far ends with, after Knuth, Morris and Pratt.

    borders: by length less one, how much of the string its own beginning of that length ends with, as far as it was
    needed.
    """

    string: bytes
    num_bytes: int = 0
    borders: list[int] = field(default_factory=lambda: [0])

    def add(self, data: bytes) -> int | None:
        """Take bytes. Returns how many of them lie behind the first end of the string among them, None without one."""
        if not self.num_bytes and self.string[0] not in data:
            return None
        behind = None
        for place, byte in enumerate(data):
            while self.num_bytes and self.string[self.num_bytes] != byte:
                self.num_bytes = self._border(self.num_bytes)
            if self.string[self.num_bytes] == byte:
                self.num_bytes += 1
            if self.num_bytes == len(self.string):
                self.num_bytes = self._border(self.num_bytes)
                behind = len(data) - place - 1 if behind is None else behind
        return behind

    def _border(self, length: int) -> int:
        borders, string = self.borders, self.string
        while len(borders) < length:
            border, newest = borders[-1], string[len(borders)]
            while border and string[border] != newest:
                border = borders[border - 1]
            borders.append(border + (string[border] == newest))
        return borders[length - 1]


@dataclass(frozen=True, slots=True)
class Held:
    """A token that is not shown yet, and where its bytes lie in the text."""

    token_id: int
    start: int
    end: int


class TextBeforeStop:
    """As a TextStream, for a sequence that may end with one of some stop strings.

    bytes_of: what a token adds in the middle of a text. prompt_ids: what stands before the sequence; a stop string may
    begin in there.
    """

    def __init__(
        self,
        shown: TextStream,
        stop_strings: Sequence[str],
        bytes_of: Callable[[int], bytes],
        prompt_ids: Sequence[int],
    ) -> None:
        self._shown = shown
        self._bytes_of = bytes_of
        self._begun = {text: Begun(text.encode()) for text in stop_strings}
        self._held: deque[Held] = deque()
        self._end = 0
        self._found_at: dict[str, int] = {}  # where stop strings begin that are complete
        longest = max(len(begun.string) for begun in self._begun.values())
        for token_id in prompt_ids[-longest:]:
            self._take(token_id)
        self._found_at = {}

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that became final with these tokens and cannot belong to a stop string; it may be empty."""
        for token_id in token_ids:
            self._held.append(self._take(token_id))
        begins = [self._end - begun.num_bytes for begun in self._begun.values()]
        return self._shown.push(self._before(min([*begins, *self._found_at.values()])))

    def finish(self, stop_string: str | None = None) -> str:
        """The rest of the text. stop_string: the one that ended the sequence, if one did."""
        at = self._end if stop_string is None else self._found_at.get(stop_string, self._end)
        piece = self._shown.push(self._before(at))
        if self._held and self._held[0].start < at:
            cut = self._held[0]
            return piece + self._shown.finish_inside(cut.token_id, at - cut.start)
        return piece + self._shown.finish()

    def _take(self, token_id: int) -> Held:
        """Match the bytes of the newest token."""
        data = self._bytes_of(token_id)
        start, self._end = self._end, self._end + len(data)
        for text, begun in self._begun.items():
            if (behind := begun.add(data)) is not None:
                self._found_at[text] = self._end - behind - len(begun.string)
        return Held(token_id, start, self._end)

    def _before(self, limit: int) -> list[int]:
        """The held tokens that end at this place or before it, no longer held."""
        free = []
        while self._held and self._held[0].end <= limit:
            free.append(self._held.popleft().token_id)
        return free
