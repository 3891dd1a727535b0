"""Applies what the strategies chose: keeps, forks and frees sequences, and ends those that are done."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from engine.batch import Choice
from engine.cache import BlockCache
from engine.request import Request, Sequence
from engine.stopping import Stopping


@dataclass(frozen=True, slots=True)
class Gain:
    """What a sequence gained in a step: the tokens it kept, and the sequence it continued."""

    sequence: Sequence
    parent: Sequence
    token_ids: list[int]


@dataclass(frozen=True, slots=True)
class Settler:
    """Turns choices into the next rows of a request.

    The first choice of a parent keeps its row, further ones fork it, a parent nobody continues is freed.
    """

    cache: BlockCache
    stopping: Stopping

    def settle(self, request: Request, choices: Seq[Choice], now: float) -> list[Gain]:
        """Give a request its next sequences, one for each choice, in order. Those that end free their blocks."""
        children: list[Sequence] = []
        continued: set[Sequence] = set()
        for choice in choices:
            children.append(self._fork(choice.parent) if choice.parent in continued else choice.parent)
            continued.add(choice.parent)
        for parent in request.sequences:
            if parent not in continued:
                self.cache.free(parent)
        if len(children) > len(request.sequences):
            for index, child in enumerate(children):
                child.index = index
        gains = [self._extend(request, child, choice, now) for child, choice in zip(children, choices, strict=True)]
        request.sequences = [child for child in children if child.finish_reason is None]
        request.ended.extend(child for child in children if child.finish_reason is not None)
        return gains

    def _fork(self, parent: Sequence) -> Sequence:
        """A sequence that begins as its parent did before this step."""
        child = Sequence(list(parent.token_ids), parent.num_prompt, memory=dict(parent.memory))
        self.cache.fork(parent, child)
        return child

    def _extend(self, request: Request, sequence: Sequence, choice: Choice, now: float) -> Gain:
        num_before = len(sequence.token_ids)
        sequence.token_ids.extend(choice.token_ids)
        ended = self.stopping.check(request, sequence, len(choice.token_ids), now)
        if ended is not None:
            num_kept, sequence.finish_reason = ended
            del sequence.token_ids[num_before + num_kept :]
            self.cache.free(sequence)
        return Gain(sequence, choice.parent, sequence.token_ids[num_before:])
