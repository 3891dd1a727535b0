"""How the main model's scores decide which drafted tokens stay, and what follows them.

The check of speculative decoding: by comparison where nothing is drawn or the draft has no probabilities, else by
rejection sampling.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch

from beamhouse.engine.decoding.drafting.drafter import Draft
from beamhouse.engine.logits import multinomial
from beamhouse.engine.logits.bad_rows import bad_rows
from beamhouse.engine.logits.sparse_scores import best
from beamhouse.engine.state.request import Request


@dataclass(frozen=True, slots=True)
class Check:
    """One draft and the scores after its first 0, 1, ... tokens. scores: (n + 1, V), or (n, V) behind an end token."""

    request: Request
    draft: Draft
    scores: torch.Tensor


@dataclass(frozen=True, slots=True)
class Verdict:
    """num_accepted: drafted tokens that stay. token: what follows them; of no use behind an accepted end token.

    is_bad: for each row of scores, whether no token can be chosen from it.
    """

    num_accepted: int
    token: int
    is_bad: list[bool]


def verify(checks: Seq[Check]) -> list[Verdict]:
    """Decide all drafts of a step with one transfer to the host."""
    flags = [_flags(check) for check in checks]
    packed = torch.cat([_decide(check) for check in checks] + [one.to(torch.int64) for one in flags]).tolist()
    bad = iter(packed[2 * len(checks) :])
    return [
        Verdict(packed[2 * number], packed[2 * number + 1], [bool(next(bad)) for _ in flag])
        for number, flag in enumerate(flags)
    ]


def _flags(check: Check) -> torch.Tensor:
    request = check.request
    return bad_rows(check.scores, request.config.do_sample, request.submission.constraint is not None)


def _decide(check: Check) -> torch.Tensor:
    """How many tokens are accepted, and the one that follows. (2,) int64"""
    if not check.request.config.do_sample:
        return _compared(check, _best(check))
    if check.draft.probabilities is None:
        return _compared(check, _drawn(check))
    return _speculated(check, check.draft.probabilities)


def _compared(check: Check, own: torch.Tensor) -> torch.Tensor:
    """Accept while the draft says what the model says itself. own: (n + 1,) the model's tokens."""
    draft = torch.tensor(check.draft.token_ids, dtype=own.dtype, device=own.device)
    num_accepted = (own[: len(draft)] != draft).cumsum(0).lt(1).sum()
    return torch.stack([num_accepted, own.index_select(0, num_accepted.clamp(max=len(own) - 1)[None])[0]])


def _best(check: Check) -> torch.Tensor:
    """The best token of every position, of the mix of both models where one is asked for."""
    scores, weight = check.scores, check.request.config.assistant_ensemble_weight
    own = best(scores)
    if weight is None or check.draft.probabilities is None:
        return own
    num_drafted = len(check.draft.token_ids)
    mixed = weight * scores[:num_drafted].softmax(-1) + (1.0 - weight) * check.draft.probabilities
    return torch.cat([best(mixed), own[num_drafted:]])


def _drawn(check: Check) -> torch.Tensor:
    """A draw at every position, as one call of `torch.multinomial` over the whole proposal makes them."""
    probabilities = check.scores.softmax(-1)
    turn = multinomial.Turn(check.request.generator, check.draft.num_proposed + 1, range(len(probabilities)))
    return multinomial.winners(probabilities, [turn])[:, 0]


def _speculated(check: Check, drafted: torch.Tensor) -> torch.Tensor:
    """Rejection sampling: the accepted tokens and the next one are distributed as the main model's own draws.

    Source: arXiv:2211.17192, algorithm 1; with `assistant_ensemble_weight` arXiv:2604.07622. The random numbers are
    those of transformers: one uniform for each drafted token, then one race. Where rounding leaves nothing of p - q the
    next token is drawn from p; the library fails there without the weight.
    """
    request, num_drafted = check.request, len(check.draft.token_ids)
    probabilities = check.scores.softmax(-1)
    token_ids = torch.tensor(check.draft.token_ids, device=probabilities.device)[:, None]
    ratio = (probabilities[:num_drafted].gather(1, token_ids) / drafted.gather(1, token_ids))[:, 0]  # (n,)
    weight = request.config.assistant_ensemble_weight
    if weight is not None:
        ratio = 1.0 - weight + weight * ratio
    uniform = torch.rand(num_drafted, generator=request.generator, device=ratio.device)
    num_accepted = (uniform > ratio).cumsum(0).lt(1).sum()
    own = probabilities.index_select(0, num_accepted.clamp(max=len(probabilities) - 1)[None])  # (1, V)
    other = drafted.index_select(0, num_accepted.clamp(max=num_drafted - 1)[None])
    rest = (own - other).clamp(min=0)
    total = rest.sum()
    is_own = (num_accepted == num_drafted) | (total <= torch.finfo(rest.dtype).tiny)
    chosen = torch.where(is_own, own, rest / total)
    return torch.cat([num_accepted[None], multinomial.winners(chosen, [multinomial.Turn(request.generator)])[:, 0]])
