"""The permutations torch draws on a CPU, as far as somebody asks for them."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]
Ids = npt.NDArray[np.int64]

_MAX_ANSWERS = 2**16
_MAX_SWAPS_BYTES = 2**22
_MASK = 2**32 - 1


class Shuffle:
    """`torch.randperm(size)` of a CPU generator, by its seed, without making the permutation whole.

    The generator is the 32-bit Mersenne Twister seeded by the low 32 bits, the permutation a Fisher-Yates shuffle from
    the front: step i swaps entry i with entry i + word_i mod (size - i). What was asked is remembered, within bounds.
    Not thread-safe.
    """

    def __init__(self, size: int, find_swaps: Callable[[int, int], Words] | None = None) -> None:
        """find_swaps: a faster way to what `_find_swaps` gives, by seed and count."""
        self.size = size
        self._random = np.random.RandomState(0)
        self._steps = np.arange(size, dtype=np.uint32)
        self._widths = np.arange(size, 0, -1, dtype=np.uint32)
        self.holds = lru_cache(_MAX_ANSWERS)(self._holds)
        self._swaps = lru_cache(max(1, _MAX_SWAPS_BYTES // (4 * size + 1)))(find_swaps or self._find_swaps)

    def head(self, seed: int, count: int) -> Ids:
        """The first `count` entries, in order."""
        moved: dict[int, int] = {}  # what lies where a swap has put it; everything else lies in its own place
        entries = np.empty(count, np.int64)
        for step, place in enumerate(self._swaps(seed & _MASK, count).tolist()):
            entries[step] = moved.get(place, place)
            moved[place] = moved.pop(step, step)
        return entries

    def _holds(self, seed: int, count: int, token: int) -> bool:
        """Whether the first `count` entries hold `token`. seed: the low 32 bits."""
        swaps = self._swaps(seed, count)
        begin, place = 0, token
        while True:
            # The first swap that reaches for the token's place brings it to the front for good.
            if (swaps[begin:place] == place).any():
                return True
            if place >= count:
                return False
            begin, place = place + 1, int(swaps[place])
            if place < begin:
                return True

    def _find_swaps(self, seed: int, count: int) -> Words:
        """The entry that each of the first `count` steps swaps its own with."""
        self._random.seed(seed)
        swaps = self._random.randint(0, 2**32, size=count, dtype=np.uint32)
        swaps %= self._widths[:count]
        swaps += self._steps[:count]
        return swaps
