"""Which tokens are green where: the seeds of the green lists and their members."""

import numpy as np

from beamhouse.engine.watermark.shuffle import Ids, Shuffle
from beamhouse.schemas.generation.watermarking import WatermarkingConfig

TABLE_SIZE = 1_000_003
_SEED_MODULUS = 2**64 - 1
_SEED_MASK = np.uint64(2**32 - 1)


class GreenLists:
    """The green lists of one watermark over one vocabulary. Source: arXiv:2306.04634.

    Each list is the first `num_green` entries of a permutation that depends on a seed alone, always the one a CPU
    draws, so that text marked on any device is detected on any other. Seeds are given by their low 32 bits, all that
    matters. Equals transformers.WatermarkLogitsProcessor on a CPU. Not thread-safe, as is `shuffle`.
    """

    def __init__(self, config: WatermarkingConfig, shuffle: Shuffle) -> None:
        self.width = config.context_width
        self.is_selfhash = config.seeding_scheme == "selfhash"
        self.num_green = int(shuffle.size * config.greenlist_ratio)
        self._key = config.hashing_key
        self._shuffle = shuffle
        self._factors = np.empty(0, np.int64)
        if self.is_selfhash:
            num_known = min(shuffle.size, TABLE_SIZE)
            self._factors = Shuffle(TABLE_SIZE).head(self._key, num_known) + 1

    def is_green(self, seed: int, token: int) -> bool:
        """Whether the list of this seed holds the token."""
        return self._shuffle.holds(seed, self.num_green, token)

    def seed_after(self, last_token: int) -> int:
        """lefthash: the seed of the list for what follows a token."""
        return self._key * last_token % _SEED_MODULUS & int(_SEED_MASK)

    def seeds_of(self, before: Ids, candidates: Ids) -> list[int]:
        """selfhash: the seed of each candidate's own list. before: the tokens it follows, one less than the width."""
        own = self._factors[candidates % TABLE_SIZE]
        smallest = own * self._key * own  # in wrapping 64-bit arithmetic
        for factor in self._factors[before % TABLE_SIZE]:
            np.minimum(smallest, own * self._key * factor, out=smallest)
        return _low_bits(smallest)

    def seeds_along(self, token_ids: Ids) -> list[int]:
        """The seeds by which the tokens from place `first_scored` on are green or not."""
        if not self.is_selfhash:
            return [self.seed_after(token) for token in token_ids[self.first_scored - 1 : -1].tolist()]
        factors = self._factors[token_ids % TABLE_SIZE]
        own = factors[self.first_scored :]
        smallest = own * self._key * own
        for distance in range(1, self.width):
            np.minimum(smallest, own * self._key * factors[self.first_scored - distance : -distance], out=smallest)
        return _low_bits(smallest)

    @property
    def first_scored(self) -> int:
        """Place of the first token that has its whole context before it."""
        return self.width - 1 if self.is_selfhash else self.width


def _low_bits(seeds: Ids) -> list[int]:
    """Signed 64-bit seeds modulo 2^64 - 1: a negative one is one less than its bits say."""
    bits = seeds.view(np.uint64) - (seeds < 0)
    found: list[int] = (bits & _SEED_MASK).tolist()
    return found
