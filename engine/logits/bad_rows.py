"""Faults of single rows: a bad row ends its own request and never its neighbours."""

from torch import Tensor

from beamhouse.engine.link.errors import RequestFailed
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Sequence

_FAILURE = Slot[RequestFailed]("failure")
_DEAD_END = Slot[str]("dead end")


def fail(request: Request, message: str) -> None:
    """Note why a request cannot go on; the first reason stays. The pipeline fills its rows with NaN."""
    if request.memory.get(_FAILURE) is None:
        request.memory[_FAILURE] = RequestFailed(message)


def failure_of(request: Request) -> RequestFailed | None:
    """The reason noted by `fail`."""
    return request.memory.get(_FAILURE)


def close(sequence: Sequence, why: str) -> None:
    """Note that no token can follow a sequence. The pipeline rules out all of its row."""
    if sequence.memory.get(_DEAD_END) is None:
        sequence.memory[_DEAD_END] = why


def why_closed(sequence: Sequence) -> str | None:
    """What `close` noted of it, or of the sequence it is forked from."""
    return sequence.memory.get(_DEAD_END)


def is_search(request: Request) -> bool:
    """Whether its rows are beams: one that cannot go on ends by itself, while the others search on."""
    return (request.config.num_beams or 1) > 1


def bad_rows(scores: Tensor, for_sampling: bool, is_constrained: bool = False) -> Tensor:
    """Which rows no token can be chosen from. scores: (R, V), processed; returns (R,) bool.

    NaN is always bad: the library would pick it. For sampling so are +inf and a row without any finite score, of which
    the library's softmax makes NaN. A greedy choice takes the first +inf, and id 0 where all is -inf, as the library;
    but not under a constraint, which rules that id out too.
    """
    best = scores.amax(-1)  # (R,), NaN where a row holds one
    if for_sampling:
        return ~best.isfinite()
    return best.isnan() | best.isneginf() if is_constrained else best.isnan()
