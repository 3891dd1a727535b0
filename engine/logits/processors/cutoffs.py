"""Cuts by probability and entropy. For sampling only."""

import torch
from torch import Tensor

from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.processors.warpers import num_kept
from beamhouse.engine.logits.rows import Rows
from beamhouse.engine.logits.sparse_scores import Survivors, ascending_places, at_least, by_width, keep, kth_largest
from beamhouse.engine.native.library import Kernels
from beamhouse.engine.state.request import Request

_TOP_H_TOKENS = 100


class TopH(Processor):
    """Keep the longest prefix of the 100 best tokens whose entropy stays within `top_h` of theirs together.

    Source: arXiv:2509.02510. Equals transformers.TopHLogitsWarper, and leaves a row of NaN to `bad_rows`.
    """

    name = "top_h"
    reads = frozenset({"top_h"})
    equals = "TopHLogitsWarper"

    def applies(self, request: Request) -> bool:
        return request.config.do_sample and request.config.top_h is not None

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        best, ids = scores.topk(min(_TOP_H_TOKENS, scores.shape[1]), dim=-1)  # (R, 100)
        logprobs = best - best.logsumexp(-1, keepdim=True)
        probabilities = logprobs.softmax(-1)
        budget = _entropy(logprobs, probabilities) * rows.column("top_h")[:, None]
        spent = (-probabilities * probabilities.log()).cumsum(-1)
        is_kept = spent <= budget
        is_kept[:, 0] = True
        return scores.fill_(-torch.inf).scatter_(1, ids, best.masked_fill(~is_kept, -torch.inf))


class TypicalP(Processor):
    """Keep the tokens whose surprisal is nearest to the entropy, until they hold `typical_p` of the probability.

    Source: arXiv:2202.00666. Equals transformers.TypicalLogitsWarper; ties are kept lower id first.
    """

    name = "typical_p"
    reads = frozenset({"typical_p"})
    equals = "TypicalLogitsWarper"

    def __init__(self, kernels: Kernels | None = None) -> None:
        self._kernels = kernels

    def applies(self, request: Request) -> bool:
        return request.config.do_sample and request.config.typical_p < 1

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        mass = rows.column("typical_p")[:, None]
        kept = rows.ints([num_kept(row) for row in rows])[:, None]

        def cut(at: Tensor, scores: Tensor, survivors: Survivors | None) -> Tensor:
            logprobs = scores.log_softmax(-1)
            entropy = -(logprobs * logprobs.exp()).nansum(-1, keepdim=True)
            distance, values = (-logprobs - entropy).abs_(), scores
            if survivors is not None:
                distance, values = survivors.gather(distance, torch.inf), survivors.gather(scores)  # (R, M)
            order = ascending_places(distance, self._kernels)
            ascending = distance.gather(1, order)
            cumulated = values.gather(1, order).softmax(-1).cumsum(-1)
            last = (cumulated < mass[at]).sum(-1, keepdim=True)
            limit = ascending.gather(1, last.clamp(max=ascending.shape[1] - 1))
            ranks = torch.arange(ascending.shape[1], device=scores.device)
            is_dropped = (ascending > limit) & (ranks >= kept[at])
            left = values.masked_fill(torch.empty_like(is_dropped).scatter_(1, order, is_dropped), -torch.inf)
            return left if survivors is None else survivors.put(scores, left)

        return by_width(scores, rows.survivors, cut)


class EpsilonCutoff(Processor):
    """Drop tokens less likely than `epsilon_cutoff`.

    Source: arXiv:2210.15191. Equals transformers.EpsilonLogitsWarper.
    """

    name = "epsilon_cutoff"
    reads = frozenset({"epsilon_cutoff"})
    equals = "EpsilonLogitsWarper"

    def applies(self, request: Request) -> bool:
        return request.config.do_sample and 0 < request.config.epsilon_cutoff < 1

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return _cut(rows, scores, rows.column("epsilon_cutoff")[:, None])


class EtaCutoff(Processor):
    """Drop tokens less likely than the smaller of `eta_cutoff` and its root times exp(-entropy).

    Source: arXiv:2210.15191. Equals transformers.EtaLogitsWarper.
    """

    name = "eta_cutoff"
    reads = frozenset({"eta_cutoff"})
    equals = "EtaLogitsWarper"

    def applies(self, request: Request) -> bool:
        return request.config.do_sample and 0 < request.config.eta_cutoff < 1

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        logprobs = scores - scores.logsumexp(-1, keepdim=True)
        entropy = _entropy(logprobs, logprobs.softmax(-1))
        cutoff = rows.column("eta_cutoff")[:, None]
        return _cut(rows, scores, torch.min(cutoff, cutoff.sqrt() * (-entropy).exp()))


def _entropy(logprobs: Tensor, probabilities: Tensor) -> Tensor:
    """(R, 1). A dropped token adds nothing, instead of 0 x inf."""
    lowest = torch.finfo(logprobs.dtype).min
    return -(logprobs.clamp(min=lowest) * probabilities).sum(-1, keepdim=True)


def _cut(rows: Rows, scores: Tensor, limit: Tensor) -> Tensor:
    """-inf for tokens less likely than `limit`, (R, 1), except the best ones."""
    kept = [min(num_kept(row), scores.shape[1]) for row in rows]
    return keep(scores, at_least(scores.softmax(-1), limit) | at_least(scores, kth_largest(scores, kept)))
