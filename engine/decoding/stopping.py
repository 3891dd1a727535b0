"""When a sequence ends, and why."""

import logging
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import torch

from beamhouse.engine.link.messages import FinishReason
from beamhouse.engine.logits.constraints.constraint import CONSTRAINT, is_complete
from beamhouse.engine.logits.registered.registry import Criterion, Registry
from beamhouse.engine.state.memory import Memory, Slot
from beamhouse.engine.state.request import Request
from beamhouse.schemas.words import FinishType

logger = logging.getLogger(__name__)

FIELDS = frozenset({"eos_token_id", "max_length", "max_new_tokens", "max_time", "stop_strings"})
"""The GenerationConfig fields that end a sequence; resolving a request turns `max_new_tokens` into `max_length`."""

_KEY_BYTES = 4
_NOTHING = Memory()


@dataclass(frozen=True, slots=True)
class StopStrings:
    """Finds stop strings in the bytes tokens stand for, whatever the borders of tokens and characters.

    strings: with the text to report, in the order given. by_ending: places in `strings` by the last few bytes, whole
    strings where they are shorter. Equals transformers.StopStringCriteria, without its tables over the vocabulary.
    """

    strings: tuple[tuple[bytes, str], ...]
    by_ending: dict[bytes, list[int]]
    longest: int
    token_bytes: Seq[bytes]

    @classmethod
    def build(cls, texts: Seq[str], token_bytes: Seq[bytes]) -> "StopStrings":
        strings = tuple((text.encode("utf-8"), text) for text in dict.fromkeys(texts))
        by_ending: dict[bytes, list[int]] = {}
        for place, (string, _) in enumerate(strings):
            by_ending.setdefault(string[-_KEY_BYTES:], []).append(place)
        return cls(strings, by_ending, max(len(string) for string, _ in strings), token_bytes)

    def completed_by_last(self, token_ids: Seq[int]) -> str | None:
        """The stop string the last of the tokens completes; the first of those given if there are several.

        A string ends inside the last token and may begin in any before it, prompt included. Costs as many bytes as the
        longest string where the last few agree with one of them, else those few.
        """
        num_new = len(self._text_of(token_ids[-1]))
        if not num_new:
            return None
        tail = self._tail(token_ids, num_new + _KEY_BYTES - 1)
        candidates = self._candidates(tail, num_new)
        if not candidates:
            return None
        text = self._tail(token_ids, num_new + self.longest - 1)
        for place, back in sorted(candidates):
            string, shown = self.strings[place]
            if text.endswith(string, 0, len(text) - back):
                return shown
        return None

    def _candidates(self, tail: bytes, num_new: int) -> list[tuple[int, int]]:
        """Strings whose ending matches, each with how many bytes of the last token lie behind it."""
        found = []
        for back in range(num_new):
            end = len(tail) - back
            for width in range(1, min(_KEY_BYTES, end) + 1):
                found += [(place, back) for place in self.by_ending.get(tail[end - width : end], ())]
        return found

    def _tail(self, token_ids: Seq[int], num_bytes: int) -> bytes:
        """At least the last `num_bytes` bytes, or all there are. A token unknown to the tokenizer matches nothing."""
        parts: list[bytes] = []
        for token in self._backwards(token_ids):
            if num_bytes <= 0 or not 0 <= token < len(self.token_bytes):
                break
            parts.append(self.token_bytes[token])
            num_bytes -= len(parts[-1])
        return b"".join(reversed(parts))

    def _backwards(self, token_ids: Seq[int]) -> Iterator[int]:
        """As many tokens as the longest string has bytes; those that stand for nothing count too."""
        for place in range(len(token_ids) - 1, max(-1, len(token_ids) - 1 - self.longest), -1):
            yield token_ids[place]

    def _text_of(self, token: int) -> bytes:
        return self.token_bytes[token] if 0 <= token < len(self.token_bytes) else b""


_STOP_STRINGS = Slot[StopStrings]("stop_strings")
_CRITERIA = Slot[list[tuple[str, Criterion]]]("stopping_criteria")


class Stopping:
    """Tests sequences after they grew. Nothing is kept here; what a request needs is built once and lies with it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def prepare(self, request: Request) -> None:
        """Build what the request needs. Raises InvalidRequest."""
        stop = request.config.stop_strings
        if stop:
            texts = [stop] if isinstance(stop, str) else stop
            assert self._registry.token_bytes is not None, "stop strings need a tokenizer"
            request.memory[_STOP_STRINGS] = StopStrings.build(texts, self._registry.token_bytes)
        if request.submission.stopping_criteria:
            request.memory[_CRITERIA] = self._registry.build_criteria(request)

    def check(
        self, request: Request, known: list[int], added: list[int], now: float, memory: Memory = _NOTHING
    ) -> tuple[int, FinishReason] | None:
        """Test the tokens added behind those of a row. Returns how many of them stay, and why it ends; or None.

        memory: of the row's sequence. Where several criteria hold at one token, the first of these is named: eos_token,
        stop_string, stopping_criterion, length, time. A constraint that is complete is such a criterion for a request
        without an end token. Time is looked at once per step, behind its last token. now: as
        `request.started_at`. A registered criterion that raises ends the sequence with the reason `error`.
        """
        for num_kept in range(1, len(added) + 1):
            reason = _reason(request, known, added[:num_kept], memory)
            if reason is not None:
                return num_kept, reason
        max_time, start = request.config.max_time, request.started_at
        if max_time is not None and start is not None and now - start > max_time:
            return len(added), FinishReason(FinishType.TIME)
        return None


def _reason(request: Request, known: list[int], added: list[int], memory: Memory) -> FinishReason | None:
    """Why the last of the added tokens ends the row. All tokens are put together only where somebody reads them."""
    if added[-1] in request.ends:
        return FinishReason(FinishType.EOS_TOKEN, token_id=added[-1])
    matcher = request.memory.get(_STOP_STRINGS)
    stop_string = matcher.completed_by_last(known[-matcher.longest :] + added) if matcher else None
    if stop_string is not None:
        return FinishReason(FinishType.STOP_STRING, stop_string=stop_string)
    criteria = request.memory.get(_CRITERIA)
    reason = _registered(criteria, known + added) if criteria else None
    if reason is not None:
        return reason
    if is_complete(request, known, added, memory):
        return FinishReason(FinishType.STOPPING_CRITERION, name=CONSTRAINT)
    if len(known) + len(added) >= request.config.max_length:
        return FinishReason(FinishType.LENGTH)
    return None


def _registered(criteria: list[tuple[str, Criterion]], token_ids: list[int]) -> FinishReason | None:
    input_ids = torch.tensor([token_ids])  # (1, L)
    for name, criterion in criteria:
        try:
            is_done = bool(torch.as_tensor(criterion(input_ids.clone(), None)).any())
        except Exception:  # foreign code may raise anything; only its own request may suffer
            logger.exception("the stopping criterion %s failed", name)
            return FinishReason(FinishType.ERROR, name=name)
        if is_done:
            return FinishReason(FinishType.STOPPING_CRITERION, name=name)
    return None
