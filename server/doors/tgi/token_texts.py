"""What each of several tokens adds to the text of its sequence."""

from dataclasses import dataclass
from itertools import accumulate

from beamhouse.engine.text.text_stream import TextStream


@dataclass(slots=True)
class TokenTexts:
    """Of one sequence, whose tokens come one at a time or several together. stream: a new one of its decoding."""

    stream: TextStream
    _num_read: int = 0

    def of(self, first: int, token_ids: list[int], said: str) -> list[str]:
        """`said`, the text of these tokens together, as pieces of one token each.

        token_ids: those of the sequence so far, of which the ones from `first` on are looked at.
        """
        new = token_ids[first:]
        if len(new) <= 1:
            return [said] if new else []
        *ends, _ = accumulate(len(piece) for piece in self._pieces(first, token_ids))
        return [said[start:end] for start, end in zip([0, *ends], [*ends, len(said)], strict=True)]

    def _pieces(self, first: int, token_ids: list[int]) -> list[str]:
        """Only where several came together are they read one by one, after whatever came before them."""
        if first > self._num_read:
            self.stream.push(token_ids[self._num_read : first])
        self._num_read = len(token_ids)
        return [self.stream.push([token_id]) for token_id in token_ids[first:]]
