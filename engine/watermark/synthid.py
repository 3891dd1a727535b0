"""SynthID's pseudo-random bits: hashes of n-grams, and the table they are looked up in."""

import numpy as np
import numpy.typing as npt

from beamhouse.engine.watermark.shuffle import Ids
from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig

Bits = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

MULTIPLIER = 6364136223846793005
INCREMENT = 1


class SynthIDHash:
    """The g-values of one watermark. Source: doi:10.1038/s41586-024-08025-4.

    A hash starts at 1 and takes in one number after another by (hash + number) * MULTIPLIER + INCREMENT, in wrapping
    signed 64-bit arithmetic: the context, the token, and then one of the keys for each layer. The table holds the
    lowest bit of each 32-bit word of a Mersenne Twister. Equals transformers.SynthIDTextWatermarkLogitsProcessor on a
    CPU.
    """

    def __init__(self, config: SynthIDTextWatermarkingConfig) -> None:
        self.context_len = config.ngram_len - 1
        self.keys: Ids = np.array(config.keys, np.int64)
        self.history_size = config.context_history_size
        self.first_marked = self.context_len if config.skip_first_ngram_calls else 0
        self.table = _random_bits(config.sampling_table_seed, config.sampling_table_size)

    def context_hashes(self, token_ids: Ids) -> Ids:
        """The hash of the context before each token from place `context_len` on, and of that after the last."""
        num_contexts = len(token_ids) - self.context_len + 1
        hashes = np.ones(num_contexts, np.int64)
        for place in range(self.context_len):
            hashes = _take_in(hashes, token_ids[place : place + num_contexts])
        return hashes

    def layer_hashes(self, context_hashes: Ids) -> Ids:
        """(R, depth): of token 0 behind each context, for each key. Token t has MULTIPLIER^2 * t more."""
        return _take_in(_take_in(context_hashes, 0)[:, None], self.keys)

    def g_values(self, token_ids: Ids) -> Bits:
        """(N, depth) for the tokens from place `context_len` on."""
        hashes = _take_in(self.context_hashes(token_ids[:-1]), token_ids[self.context_len :])
        found: Bits = self.table[_take_in(hashes[:, None], self.keys) % len(self.table)]
        return found

    def is_new(self, context_hashes: Ids) -> Mask:
        """Which contexts differ from all of the `history_size` before them. A repeated context is not marked again."""
        is_new = np.ones(len(context_hashes), np.bool_)
        seen = {0: -1}  # the history begins full of zeros
        for place, value in enumerate(context_hashes.tolist()):
            is_new[place] = place - seen.get(value, -1 - self.history_size) > self.history_size
            seen[value] = place
        return is_new

    def is_last_new(self, context_hashes: Ids) -> bool:
        """The same of the last one alone."""
        last, before = context_hashes[-1], context_hashes[-1 - self.history_size : -1]
        return not (before == last).any() and (last != 0 or len(before) == self.history_size)

    def pad(self, generated: Ids) -> Ids:
        """Generated tokens behind the zeros that stand for the context of the first; the prompt does not count."""
        return np.concatenate([np.zeros(self.context_len, np.int64), generated])


def _take_in(hashes: Ids, numbers: Ids | int) -> Ids:
    return (hashes + numbers) * MULTIPLIER + INCREMENT


def _random_bits(seed: int, size: int) -> Bits:
    words = np.random.RandomState(seed & (2**32 - 1)).randint(0, 2**32, size=size, dtype=np.uint32)
    return (words & 1).astype(np.uint8)
