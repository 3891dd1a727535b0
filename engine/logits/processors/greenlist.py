"""Green lists: a bias for a part of the vocabulary that depends on the tokens before."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.rows import Ids, Rows, as_ids
from beamhouse.engine.logits.sparse_scores import largest
from beamhouse.engine.native import choices
from beamhouse.engine.native.library import Kernels
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Row
from beamhouse.engine.watermark.greenlist import GreenLists
from beamhouse.engine.watermark.profiles import Profiles, find_profile
from beamhouse.engine.watermark.shuffle import Shuffle
from beamhouse.schemas.generation.watermarking import WatermarkingConfig

FIELD = "watermarking_config"

_NUM_CANDIDATES = 40
_MAX_MASK_BYTES = 2**25
_MAX_MARKS = 64

Packed = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class GreenMark:
    """What one watermark does to scores."""

    bias: float
    lists: GreenLists


class GreenListWatermark(Processor):
    """Add `bias` to the scores of green tokens: of all of them with lefthash, of those among the 40 best with selfhash.

    Green lists are made on the CPU whatever the model runs on, so that any machine can detect them; prompt tokens
    count as context. They are remembered across requests, within bounds.
    Source: arXiv:2306.04634. Equals transformers.WatermarkLogitsProcessor on a CPU.
    """

    name = FIELD
    reads = frozenset({FIELD})
    equals = "WatermarkLogitsProcessor"
    mark = Slot[GreenMark]("green list")

    def __init__(self, vocab_size: int, profiles: Profiles, kernels: Kernels | None = None) -> None:
        self._profiles = profiles
        self._shuffle = Shuffle(vocab_size, choices.swaps_for(kernels, vocab_size))
        self._generator = torch.Generator()
        self._mark = lru_cache(_MAX_MARKS)(self._make_mark)
        self._green = lru_cache(max(1, 8 * _MAX_MASK_BYTES // max(1, vocab_size)))(self._draw_green)

    def applies(self, request: Request) -> bool:
        profile = find_profile(request.config.watermarking_config, self._profiles)
        return profile is not None and isinstance(profile.mark, WatermarkingConfig)

    def acts(self, row: Row) -> bool:
        mark = row.request.memory[self.mark]
        return len(row.sequence.token_ids) >= mark.lists.width

    def prepare(self, request: Request, vocab_size: int) -> None:
        profile = find_profile(request.config.watermarking_config, self._profiles)
        assert profile is not None
        request.memory[self.mark] = self._mark(profile.mark.model_dump_json())

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        marks = [row.request.memory[self.mark] for row in rows]
        is_selfhash = [mark.lists.is_selfhash for mark in marks]
        if all(is_selfhash):
            return self._add_to_candidates(rows, marks, scores)
        if not any(is_selfhash):
            return self._add_to_lists(rows, marks, scores)
        for kind, add in ((True, self._add_to_candidates), (False, self._add_to_lists)):
            places = [place for place, one in enumerate(is_selfhash) if one is kind]
            scores[places] = add(rows.pick(places), [marks[place] for place in places], scores[places])
        return scores

    def _add_to_lists(self, rows: Rows, marks: list[GreenMark], scores: Tensor) -> Tensor:
        packed = [
            self._green(mark.lists.seed_after(row.sequence.token_ids[-1]), mark.lists.num_green)
            for row, mark in zip(rows, marks, strict=True)
        ]
        is_green = torch.from_numpy(np.unpackbits(np.stack(packed), axis=1, count=scores.shape[1]))  # (R, V)
        return scores.addcmul_(is_green.to(scores), rows.floats([mark.bias for mark in marks])[:, None])

    def _add_to_candidates(self, rows: Rows, marks: list[GreenMark], scores: Tensor) -> Tensor:
        """A list of their own decides for each of the best tokens, so these have to be known to the host."""
        values, best = _best(scores)
        is_possible = values.isfinite().cpu().numpy()
        greens = [
            self._green_of(row, mark, tokens[possible])
            for row, mark, tokens, possible in zip(rows, marks, best.cpu().numpy(), is_possible, strict=True)
        ]
        places, tokens = rows.places(greens)
        scores[places, tokens] += rows.floats([mark.bias for mark in marks])[places]
        return scores

    @staticmethod
    def _green_of(row: Row, mark: GreenMark, candidates: Ids) -> Ids:
        lists = mark.lists
        before = as_ids(row.sequence.token_ids[len(row.sequence.token_ids) - lists.width + 1 :])
        seeds = lists.seeds_of(before, candidates)
        return as_ids(
            [token for seed, token in zip(seeds, candidates.tolist(), strict=True) if lists.is_green(seed, token)]
        )

    def _draw_green(self, seed: int, num_green: int) -> Packed:
        """The green list of a seed, one bit for each token."""
        is_green = np.zeros(self._shuffle.size, np.bool_)
        order = torch.randperm(self._shuffle.size, generator=self._generator.manual_seed(seed))
        is_green[order[:num_green].numpy()] = True
        return np.packbits(is_green)

    def _make_mark(self, config: str) -> GreenMark:
        mark = WatermarkingConfig.model_validate_json(config)
        return GreenMark(mark.bias, GreenLists(mark, self._shuffle))


def _best(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best tokens of each row with their scores, both (R, 40).

    Where the last of them ties with the next, the library's own call decides, whatever order it gives equal scores.
    """
    values, best = largest(scores, min(_NUM_CANDIDATES + 1, scores.shape[1]))
    if values.shape[1] > _NUM_CANDIDATES:
        last = values[:, _NUM_CANDIDATES - 1]
        is_tied = (last == values[:, _NUM_CANDIDATES]) & last.isfinite()
        values, best = values[:, :_NUM_CANDIDATES], best[:, :_NUM_CANDIDATES]
        for place in is_tied.nonzero().flatten().tolist():
            best[place] = scores[place].sort(descending=True).indices[:_NUM_CANDIDATES]
    return values, best
