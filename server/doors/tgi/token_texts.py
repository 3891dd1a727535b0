"""What each of several tokens adds to the text of its sequence."""

from dataclasses import dataclass

from beamhouse.engine.text.text_stream import TextStream
from beamhouse.engine.text.tokenizer import Text


@dataclass(slots=True)
class TokenTexts:
    """Of one sequence, whose tokens come one at a time or several together."""

    text: Text
    _stream: TextStream | None = None
    _num_read: int = 0

    def of(self, first: int, token_ids: list[int], said: str) -> list[str]:
        """`said`, the text of these tokens together, as pieces of one token each.

        token_ids: those of the sequence so far, of which the ones from `first` on are looked at.
        """
        new = token_ids[first:]
        if len(new) <= 1:
            return [said] if new else []
        lengths = [len(piece) for piece in self._pieces(first, token_ids)]
        ends = [sum(lengths[: index + 1]) for index in range(len(lengths) - 1)]
        return [said[start:end] for start, end in zip([0, *ends], [*ends, len(said)], strict=True)]

    def _pieces(self, first: int, token_ids: list[int]) -> list[str]:
        """Only where several came together are they read one by one, after whatever came before them."""
        if self._stream is None:
            self._stream = self.text.stream()
        if first > self._num_read:
            self._stream.push(token_ids[self._num_read : first])
        self._num_read = len(token_ids)
        return [self._stream.push([token_id]) for token_id in token_ids[first:]]
