"""Applies what the strategies chose: keeps, forks, truncates and frees sequences."""

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from beamhouse.engine.state.batch import Choice
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Request, Sequence


@dataclass(frozen=True, slots=True)
class Settler:
    """Turns choices into the next rows of a request, shadows included.

    The first choice of a parent keeps its row, further ones fork it, a parent nobody continues is freed.
    """

    cache: BlockCache

    def settle(self, request: Request, choices: Seq[Choice]) -> None:
        """Give a request its next sequences, one for each choice, in order. Drafts that were not confirmed go."""
        children: list[Sequence] = []
        continued: set[Sequence] = set()
        for choice in choices:
            children.append(self._fork(choice.parent) if choice.parent in continued else choice.parent)
            continued.add(choice.parent)
        for parent in request.sequences:
            if parent not in continued:
                for one in parent.with_shadow:
                    self.cache.free(one)
        for child, choice in zip(children, choices, strict=True):
            child.index = choice.number
            for one in child.with_shadow:
                self._extend(one, choice.token_ids)
        request.sequences = children

    def _fork(self, parent: Sequence) -> Sequence:
        """A sequence that begins as its parent did before this step."""
        child = parent.fork()
        self.cache.fork(parent, child)
        if parent.shadow is not None:
            child.shadow = self._fork(parent.shadow)
        return child

    def _extend(self, sequence: Sequence, token_ids: list[int]) -> None:
        num_at_once = sequence.num_at_once
        sequence.token_ids.extend(token_ids)
        sequence.draft_ids = []
        if sequence.num_at_once != num_at_once:
            self.cache.truncate(sequence, 0)
        # The newest token is chosen but not fed; whatever is cached there was a draft.
        if sequence.num_cached >= len(sequence.token_ids):
            self.cache.truncate(sequence, len(sequence.token_ids) - 1)
