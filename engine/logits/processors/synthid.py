"""SynthID: a tournament of pseudo-random bits between the tokens, one round for each key."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np
import torch
from torch import Tensor

from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.processors.greenlist import FIELD
from beamhouse.engine.logits.rows import Ids, Rows, as_ids
from beamhouse.engine.logits.sparse_scores import Survivors, by_width
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Row
from beamhouse.engine.watermark.profiles import Profiles, find_profile
from beamhouse.engine.watermark.synthid import MULTIPLIER, SynthIDHash
from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig

_MAX_TOURNAMENTS = 16
_UNDIVIDED = 2**15
"""Elements that torch sums without dividing them among threads."""


class SynthIDWatermark(Processor):
    """Replace scores by the log-probabilities of the tokens that win the tournament.

    Ruled out tokens get the smallest finite number, as in the library. The context is made of a row's own generated
    tokens; the library's, in a beam search, is made of what stood in the same row before, which no detector can know.
    A row without a distribution is left to `bad_rows`.
    Source: doi:10.1038/s41586-024-08025-4. Equals transformers.SynthIDTextWatermarkLogitsProcessor, without beams.
    """

    name = FIELD
    reads = frozenset({FIELD})
    equals = "SynthIDTextWatermarkLogitsProcessor"

    def __init__(self, vocab_size: int, device: torch.device, profiles: Profiles) -> None:
        self._profiles = profiles
        self._vocab_size, self._device = vocab_size, device
        self._tournament = lru_cache(_MAX_TOURNAMENTS)(self._make_tournament)

    def applies(self, request: Request) -> bool:
        profile = find_profile(request.config.watermarking_config, self._profiles)
        return profile is not None and isinstance(profile.mark, SynthIDTextWatermarkingConfig)

    def acts(self, row: Row) -> bool:
        tournament = row.request.memory[_TOURNAMENT]
        return tournament.is_debugged or row.sequence.num_generated >= tournament.hashes.first_marked

    def prepare(self, request: Request, vocab_size: int) -> None:
        profile = find_profile(request.config.watermarking_config, self._profiles)
        assert profile is not None
        request.memory[_TOURNAMENT] = self._tournament(profile.mark.model_dump_json())

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        contexts: dict[Tournament, dict[int, int]] = {}  # the hash of the context of each row that is marked
        for place, row in enumerate(rows):
            tournament = row.request.memory[_TOURNAMENT]
            if tournament.is_debugged:
                scores[place] = 1.0
            context_hash = _new_context(row, tournament.hashes)
            if context_hash is not None:
                contexts.setdefault(tournament, {})[place] = context_hash
        for tournament, known in contexts.items():
            hashes = np.array(list(known.values()), np.int64)
            if len(known) == len(scores):
                return tournament.play(scores, hashes)
            scores[list(known)] = tournament.play(scores[list(known)], hashes)
        return scores

    def _make_tournament(self, config: str) -> "Tournament":
        mark = SynthIDTextWatermarkingConfig.model_validate_json(config)
        hashes = SynthIDHash(mark)
        return Tournament(hashes, _Table.of(hashes, self._vocab_size, self._device), mark.debug_mode)


@dataclass(frozen=True, slots=True)
class _Table:
    """Which bit belongs to which token, as 0.0 or 1.0.

    The place of a token in the table is linear in its id: (offset + MULTIPLIER^2 * id) mod size, the offset made of
    context and key. In a table whose size is a power of two the ids can be laid out once so that neighbours lie side by
    side: then the bits of the whole vocabulary are a slice of `bits`, which repeats itself as often as needed, and
    `steps` is None. Otherwise `steps` holds MULTIPLIER^2 * id, and `bits` is the table.
    """

    bits: Tensor
    steps: Tensor | None
    size: int

    @classmethod
    def of(cls, hashes: SynthIDHash, vocab_size: int, device: torch.device) -> "_Table":
        size = len(hashes.table)
        is_sliced = size & (size - 1) == 0
        ids = np.arange(size + vocab_size if is_sliced else vocab_size, dtype=np.int64)
        steps = ids * MULTIPLIER * MULTIPLIER
        if is_sliced:
            return cls(torch.from_numpy(hashes.table[steps % size]).float().to(device), None, size)
        return cls(torch.from_numpy(hashes.table).float().to(device), torch.from_numpy(steps).to(device), size)

    def offsets(self, hashes: Ids) -> Tensor:
        """hashes: of token 0. Returns what `of_tokens` takes."""
        if self.steps is not None:
            return torch.from_numpy(hashes).to(self.bits.device)
        inverse = pow(MULTIPLIER * MULTIPLIER, -1, self.size)
        return torch.from_numpy(hashes % self.size * inverse % self.size).to(self.bits.device)

    def of_tokens(self, offsets: Tensor, tokens: Tensor) -> Tensor:
        """offsets: (R,). tokens: (R, M). Returns (R, M)."""
        if self.steps is not None:
            return self.bits[(self.steps[tokens] + offsets[:, None]) % self.size]
        if tokens.device.type == "cpu" and tokens.shape[1] + self.size == len(self.bits):
            slices = [self.bits[begin : begin + tokens.shape[1]] for begin in offsets.tolist()]
            return slices[0][None] if len(slices) == 1 else torch.stack(slices)
        return self.bits[tokens + offsets[:, None]]


@dataclass(frozen=True, slots=True, eq=False)
class Tournament:
    """One watermark over one vocabulary."""

    hashes: SynthIDHash
    table: _Table
    is_debugged: bool

    def play(self, scores: Tensor, context_hashes: Ids) -> Tensor:
        """scores: (R, V). context_hashes: (R,)."""
        offsets = self.table.offsets(self.hashes.layer_hashes(context_hashes))  # (R, depth)

        def cut(at: Tensor, scores: Tensor, survivors: Survivors | None) -> Tensor:
            probabilities = scores.softmax(-1)
            if survivors is None:
                tokens = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)
                logs = self._left(probabilities, offsets[at], tokens, _sums).log()
            else:
                # Summed over the whole vocabulary, so that it rounds as in the library.
                every = torch.zeros_like(scores)
                left = self._left(
                    survivors.gather(probabilities, 0.0),
                    offsets[at],
                    survivors.tokens(scores.shape[1]),
                    lambda won: _sums(survivors.put(every, won)),
                )
                logs = survivors.put(every.fill_(-torch.inf), left.log())
            is_broken = probabilities[:, :1].isnan()
            return torch.where(is_broken, scores, logs.nan_to_num_(lowest, lowest, lowest))

        lowest = torch.finfo(scores.dtype).min
        return by_width(scores, None, cut)

    def _left(self, left: Tensor, offsets: Tensor, tokens: Tensor, sums: Callable[[Tensor], Tensor]) -> Tensor:
        """What all rounds leave of the probabilities. left, tokens: (R, M). offsets: (R, depth). Returns (R, M)."""
        for offset in offsets.unbind(1):
            bits = self.table.of_tokens(offset, tokens)  # (R, M)
            left = left * (1 + bits - sums(left * bits))
        return left


def _sums(values: Tensor) -> Tensor:
    """The sum of each row, (R, 1), rounded as of one row alone.

    On a CPU torch divides a sum among its threads where it is long, and where there are fewer rows than threads.
    """
    num_threads = torch.get_num_threads()
    is_divided = values.shape[1] > _UNDIVIDED or len(values) < num_threads
    if values.device.type == "cpu" and num_threads > 1 and is_divided:
        return torch.cat([row.sum(1, keepdim=True) for row in values.split(1)])
    return values.sum(1, keepdim=True)


class _Seen(msgspec.Struct, frozen=True):
    """The contexts of a sequence so far; kept in its memory, so that it forks with it. hashes: one more than tokens."""

    token_ids: list[int]
    hashes: Ids


_TOURNAMENT = Slot[Tournament]("SynthID")
_SEEN = Slot[_Seen]("contexts of SynthID")


def _new_context(row: Row, hashes: SynthIDHash) -> int | None:
    """The hash of the context of the next token, or None if it was there before and must not be marked again.

    What is remembered counts only while the tokens still begin with it.
    """
    generated = list(row.sequence.generated_ids)
    seen = row.sequence.memory.get(_SEEN)
    if seen is None or seen.token_ids != generated[: len(seen.token_ids)]:
        seen = _Seen([], np.empty(0, np.int64))
    if len(seen.hashes) <= len(generated):
        missing = hashes.context_hashes(hashes.pad(as_ids(generated))[len(seen.hashes) :])
        seen = _Seen(generated, np.concatenate([seen.hashes, missing]))
    row.sequence.memory[_SEEN] = seen
    marked = seen.hashes[hashes.first_marked : len(generated) + 1]
    return int(marked[-1]) if len(marked) and hashes.is_last_new(marked) else None
