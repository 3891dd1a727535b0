"""Faults of single rows: a bad row ends its own request and never its neighbours."""

from collections.abc import Iterable
from collections.abc import Sequence as Seq

from torch import Tensor

from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Row, Sequence

_DEAD_END = Slot[str]("dead end")


def close(sequence: Sequence, why: str) -> None:
    """Note that no token can follow a sequence; the first reason stays."""
    if sequence.memory.get(_DEAD_END) is None:
        sequence.memory[_DEAD_END] = why


def why_closed(sequence: Sequence) -> str | None:
    """What `close` noted of it, or of the sequence it is forked from."""
    return sequence.memory.get(_DEAD_END)


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


def fail_bad(rows: Seq[Row], is_bad: Iterable[bool]) -> None:
    """Let the requests fail that own a row no token can be chosen from."""
    for row, flag in zip(rows, is_bad, strict=True):
        if flag:
            row.request.fail(why_closed(row.sequence) or "no token can be chosen from the model's scores")
