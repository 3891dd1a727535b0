"""Says which requests a step was slow for."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Seq

import msgspec

from beamhouse.engine.link.messages import Submission, Wanted
from beamhouse.schemas.generation.defaults import is_neutral

logger = logging.getLogger(__name__)

SLOW_S = 1.0
"""A step that lasts longer, with what was taken in before it, is worth a line in the log."""
MOST_NAMED = 4
_LENGTHS = frozenset({"max_length", "max_new_tokens", "min_length", "min_new_tokens", "eos_token_id", "pad_token_id"})

_NOTHING: tuple[float, str, Seq[Submission]] = 0.0, "", ()


class Watch:
    """Measures the parts of a step, and names those for whom the slowest part of a slow one was. num_slow: so far."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: in seconds."""
        self.num_slow = 0
        self._clock = clock
        self._whole, self._slowest = 0.0, _NOTHING

    @contextlib.contextmanager
    def timing(self, doing: str, submissions: Iterable[Submission]) -> Iterator[None]:
        """A part of the step. doing: what, as in "most of it went into ..."."""
        began_at = self._clock()
        try:
            yield
        finally:
            seconds = self._clock() - began_at
            self._whole += seconds
            if seconds > self._slowest[0]:
                self._slowest = seconds, doing, list(submissions)

    def end_step(self) -> None:
        """Forget the step; say so if it was slow."""
        whole, (seconds, doing, submissions) = self._whole, self._slowest
        self._whole, self._slowest = 0.0, _NOTHING
        if whole < SLOW_S:
            return
        self.num_slow += 1
        named = "; ".join(described(one) for one in submissions[:MOST_NAMED])
        more = f"; and {len(submissions) - MOST_NAMED} more" if len(submissions) > MOST_NAMED else ""
        logger.warning("a step took %.1f s, %.1f s of it %s: %s%s", whole, seconds, doing, named, more)


def described(submission: Submission) -> str:
    """What a request asks for, without a word of its texts: numbers as they are, of lists how long they are."""
    config = submission.config
    said = {name: value for name, value in config.set_fields().items() if not is_neutral(name, value)}
    fields = {name: value for name, value in said.items() if name not in _LENGTHS}
    wanted = {
        name: value
        for name, value in msgspec.structs.asdict(submission.wanted).items()
        if value != getattr(Wanted(), name)
    }
    named = {kind: len(getattr(submission, kind)) for kind in ("logits_processor", "stopping_criteria")}
    new = config.max_length - len(submission.prompt_ids)
    parts = [config.mode, f"{len(submission.prompt_ids)} prompt tokens", f"{new} new"]
    parts += [field_in_words(name, value) for name, value in (fields | wanted).items()]
    parts += [f"{number} {kind}" for kind, number in named.items() if number]
    if submission.constraint is not None:
        parts.append("prefix_allowed_tokens")
    return f"{submission.request_id} ({', '.join(parts)})"


def field_in_words(name: str, value: object) -> str:
    if isinstance(value, list | dict):
        return f"{name} of {len(value)}"
    return name if isinstance(value, str) else f"{name} {value}"
