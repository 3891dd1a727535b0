"""Rotary positions whose angles depend on how many tokens are computed at once: the rule, without tensors.

Up to the length of training a model turns its positions in one way, beyond in another: in one other (longrope), or in
one of its own for each length (dynamic). The library goes by the longest position of a call. A prompt is one call and
each further token one more, whose own position is the longest, while the keys that are cached stay as they were turned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Stretch:
    """switches: lengths beyond which positions are turned otherwise. grows_from: that beyond which each length has
    angles of its own, None where no such length is. renewed_at: that at which the library computes a sequence anew
    instead of going on with keys of two kinds, 0 for never.
    """

    switches: frozenset[int] = frozenset()
    grows_from: int | None = None
    renewed_at: int = 0

    def least_like(self, num_tokens: int) -> int:
        """The least number of tokens that, computed at once, are turned as so many; 0 where any fewer are as well."""
        if self.grows_from is not None and num_tokens > self.grows_from:
            return num_tokens
        return max((length + 1 for length in self.switches if num_tokens > length), default=0)

    def runs(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Positions start ... end in runs that are turned alike where each is the last one of its call."""
        bounds = {length for length in self.switches if start < length < end}
        if self.grows_from is not None:
            bounds |= set(range(max(start + 1, self.grows_from), end))
        places = [start, *sorted(bounds), end]
        yield from ((one, other) for one, other in pairwise(places) if one < other)


def joined(rules: list[Stretch], renewed_at: int) -> Stretch | None:
    """What holds for a model whose layers follow these rules; None for no rule."""
    if not rules:
        return None
    growing = [rule.grows_from for rule in rules if rule.grows_from is not None]
    switches = frozenset().union(*(rule.switches for rule in rules))
    return Stretch(switches, min(growing, default=None), renewed_at)
