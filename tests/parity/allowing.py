"""`prefix_allowed_tokens` as the callable that `generate()` takes."""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from functools import cache

import msgspec
import torch

from beamhouse.engine.link.messages import Constraint
from beamhouse.engine.logits.constraints.constraint import AllowedText, Constraints
from beamhouse.engine.logits.constraints.matching import Matcher
from beamhouse.engine.text.tokenizer import Text
from tests.parity.models import BUILTIN, reference

Allowed = Callable[[int, torch.Tensor], list[int]]

TOKENIZER_JSON = (BUILTIN / "tokenizer.json").read_text()
TEXT = Text.load(str(BUILTIN / "tokenizer.json"), None, {})


@cache
def token_bytes() -> tuple[bytes, ...]:
    """The bytes of the built-in model's tokens."""
    return tuple(TEXT.token_bytes())


def callable_of(constraint: Constraint, num_prompt: int, ends: Seq[int], vocab_size: int) -> Allowed:
    """The library's form of a constraint. Outside it, where the library wants some token all the same, the end.

    Where nothing fits inside it, the library raises.
    """
    follow: Callable[[Constraint, list[int], Seq[int]], list[int] | None] = _follow_text
    if constraint.token_ids is not None:
        follow = _follow_ids
    elif constraint.sequences is not None:
        follow = _follow_sequences

    def allowed(batch: int, input_ids: torch.Tensor) -> list[int]:
        found = follow(constraint, input_ids[num_prompt:].tolist(), ends)
        return list(ends) if found is None else [token for token in found if token < vocab_size]

    return allowed


def _follow_ids(constraint: Constraint, generated: list[int], ends: Seq[int]) -> list[int]:
    return list(constraint.token_ids or ())


def _follow_sequences(constraint: Constraint, generated: list[int], ends: Seq[int]) -> list[int] | None:
    size, following = len(generated), [one for one in constraint.sequences or () if one[: len(generated)] == generated]
    if not following:
        return None
    return sorted({one[size] for one in following if len(one) > size} | set(ends if generated in following else ()))


def _follow_text(constraint: Constraint, generated: list[int], ends: Seq[int]) -> list[int] | None:
    matcher = _start(msgspec.msgpack.encode(constraint)).advanced(generated)
    if matcher is None:
        return None
    allowed, may_end = matcher.options()
    found = [token for token in allowed.nonzero()[0].tolist() if token not in ends]
    return [*found, *ends] if may_end else found


@cache
def _start(encoded: bytes) -> Matcher:
    constraint = msgspec.msgpack.decode(encoded, type=Constraint)
    allowance = Constraints(reference("builtin").config.vocab_size, {}, TEXT.spelling).compile(constraint)
    assert isinstance(allowance, AllowedText)
    return allowance.start
