"""Temperature and the cuts by rank, by mass and by share of the best. For sampling only."""

from torch import Tensor

from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.rows import Rows
from beamhouse.engine.logits.sparse_scores import (
    Survivors,
    ascending,
    at_least,
    by_width,
    drop_smallest,
    keep,
    keep_largest,
    num_within,
)
from beamhouse.engine.native import choices
from beamhouse.engine.native.library import Kernels
from beamhouse.engine.state.request import Request, Row


def num_kept(row: Row) -> int:
    """Tokens a cut leaves at least: one, in beam sampling also one that ends no hypothesis.

    As in the library, it is two where nobody says what ends one, and one where nothing is said to.
    """
    config = row.request.config
    if config.num_beams == 1:
        return 1
    return 2 if config.eos_token_id is None else 1 + len(config.eos_token_ids)


class Temperature(Processor):
    """Divide by the temperature. Equals transformers.TemperatureLogitsWarper."""

    name = "temperature"
    reads = frozenset({"temperature"})
    equals = "TemperatureLogitsWarper"

    def applies(self, request: Request) -> bool:
        return request.config.do_sample and request.config.temperature != 1

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return scores.div_(rows.column("temperature")[:, None])


class TopK(Processor):
    """Keep the `top_k` best tokens and all that tie with the last of them. Equals transformers.TopKLogitsWarper."""

    name = "top_k"
    reads = frozenset({"top_k"})
    equals = "TopKLogitsWarper"

    def __init__(self, kernels: Kernels | None = None) -> None:
        self._kernels = kernels

    def applies(self, request: Request) -> bool:
        return request.config.do_sample and request.config.top_k > 0

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        k = [min(max(row.request.config.top_k, num_kept(row)), scores.shape[1]) for row in rows]
        if self._kernels is not None and (places := choices.cut_to_largest(self._kernels, scores, k)) is not None:
            rows.survivors = Survivors.at(places, *scores.shape)
            return scores
        scores, rows.survivors = keep_largest(scores, k)
        return scores


class TopP(Processor):
    """Drop the least likely tokens whose probabilities, summed from the bottom, are at most 1 - `top_p`.

    Source: arXiv:1904.09751. Equals transformers.TopPLogitsWarper; where scores tie, whose order is arbitrary there,
    the lower id is dropped first.
    """

    name = "top_p"
    reads = frozenset({"top_p"})
    equals = "TopPLogitsWarper"

    def __init__(self, kernels: Kernels | None = None) -> None:
        self._kernels = kernels

    def applies(self, request: Request) -> bool:
        return request.config.do_sample and request.config.top_p < 1

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        limit = rows.column("top_p", lambda top_p: 1 - top_p)[:, None]
        kept = rows.ints([num_kept(row) for row in rows])[:, None]

        def cut(at: Tensor, scores: Tensor, survivors: Survivors | None) -> Tensor:
            values = scores if survivors is None else survivors.gather(scores)  # (R, M)
            ordered = ascending(values, self._kernels)
            num_below = num_within(ordered.softmax(-1).cumsum(-1), limit[at])
            left = drop_smallest(values, ordered, num_below.minimum(ordered.shape[1] - kept[at]).clamp_(min=0))
            return left if survivors is None else survivors.put(scores, left)

        return by_width(scores, rows.survivors, cut)


class MinP(Processor):
    """Drop tokens less likely than `min_p` times the likeliest.

    Source: arXiv:2407.01082. Equals transformers.MinPLogitsWarper.
    """

    name = "min_p"
    reads = frozenset({"min_p"})
    equals = "MinPLogitsWarper"

    def applies(self, request: Request) -> bool:
        return request.config.do_sample and request.config.min_p is not None

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        probabilities = scores.softmax(-1)
        is_kept = at_least(probabilities, probabilities.amax(-1, keepdim=True) * rows.column("min_p")[:, None])
        # The likeliest token always stays. Requests may keep different numbers; each asks for its own best, since ties
        # have no fixed order.
        kept = [min(num_kept(row), scores.shape[1]) for row in rows]
        for most in set(kept) - {1}:
            group = rows.ints([place for place, one in enumerate(kept) if one == most])
            is_kept[group[:, None], probabilities[group].topk(most).indices] = True
        return keep(scores, is_kept)
