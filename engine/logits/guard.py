"""Faults of single rows: a bad row ends its own request and never its neighbours."""

from torch import Tensor

from engine.errors import RequestFailed
from engine.request import Request

_FAILURE = "failure"


def fail(request: Request, message: str) -> None:
    """Note why a request cannot go on; the first reason stays. The pipeline fills its rows with NaN."""
    request.prepared.setdefault(_FAILURE, RequestFailed(message))


def failure_of(request: Request) -> RequestFailed | None:
    """The reason noted by `fail`."""
    return request.prepared.get(_FAILURE)


def bad_rows(scores: Tensor, for_sampling: bool) -> Tensor:
    """Which rows no token can be chosen from. scores: (R, V), processed; returns (R,) bool.

    NaN is always bad: the library would pick it. For sampling so are +inf and a row without any finite score, of which
    the library's softmax makes NaN. A greedy choice takes the first +inf, and id 0 where all is -inf, as the library.
    """
    best = scores.amax(-1)  # (R,), NaN where a row holds one
    return ~best.isfinite() if for_sampling else best.isnan()
