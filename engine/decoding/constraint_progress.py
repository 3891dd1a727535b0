"""How far a hypothesis is through the phrases it must hold."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from schemas.generation import GenerationConfig
from schemas.generation_parts import DisjunctiveConstraint, OrderedConstraint, PhrasalConstraint


@dataclass(frozen=True, slots=True)
class Demand:
    """One of these phrases has to come. then: what is demanded only after it."""

    phrases: tuple[tuple[int, ...], ...]
    then: "Demand | None" = None

    @property
    def longest(self) -> int:
        return max(len(phrase) for phrase in self.phrases)

    def next_ids(self, begun: tuple[int, ...]) -> list[int]:
        """The tokens that lead on from what has begun, each once; none when a phrase is complete."""
        size = len(begun)
        return list(dict.fromkeys(one[size] for one in self.phrases if len(one) > size and one[:size] == begun))

    def chain(self) -> Iterator["Demand"]:
        yield self
        if self.then is not None:
            yield from self.then.chain()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a sequence stands. Never changed in place, so that forks share it.

    At most one demand is under way; a token that breaks it sends it back to the end of those that wait, and is not
    tried as the beginning of another. Equals transformers.ConstraintListState of 4.x, with ordered phrases beside.
    """

    waiting: tuple[Demand, ...]
    longest: int
    num_left: int
    num_complete: int = 0
    open: Demand | None = None
    begun: tuple[int, ...] = ()

    @classmethod
    def start(cls, demands: Iterable[Demand]) -> "Progress":
        waiting = tuple(demands)
        every = [link for demand in waiting for link in demand.chain()]
        return cls(waiting, max(one.longest for one in every), len(every))

    @property
    def is_complete(self) -> bool:
        return self.num_left == 0

    @property
    def bank(self) -> int:
        """The rank of a hypothesis by its progress: the tokens that its phrases count for, complete ones in full."""
        if self.open is None:
            return self.num_complete * self.longest
        return (self.num_complete + 1) * self.longest - (self.open.longest - len(self.begun))

    def next_ids(self) -> list[int]:
        """The tokens that would make progress."""
        if self.open is not None:
            return self.open.next_ids(self.begun)
        return [token for demand in self.waiting for token in demand.next_ids(())]

    def after(self, token: int) -> "Progress":
        if self.is_complete:
            return self
        if self.open is not None:
            if token in self.open.next_ids(self.begun):
                return self._advanced(self.open, (*self.begun, token), self.waiting)
            return replace(self, waiting=(*self.waiting, self.open), open=None, begun=())
        for place, demand in enumerate(self.waiting):
            if token in demand.next_ids(()):
                return self._advanced(demand, (token,), self.waiting[:place] + self.waiting[place + 1 :])
        return self

    def after_all(self, token_ids: Iterable[int]) -> "Progress":
        progress = self
        for token in token_ids:
            progress = progress.after(token)
        return progress

    def _advanced(self, demand: Demand, begun: tuple[int, ...], waiting: tuple[Demand, ...]) -> "Progress":
        if demand.next_ids(begun):
            return replace(self, waiting=waiting, open=demand, begun=begun)
        return replace(
            self,
            waiting=waiting if demand.then is None else (*waiting, demand.then),
            num_left=self.num_left - 1,
            num_complete=self.num_complete + 1,
            open=None,
            begun=(),
        )


def demands_of(config: GenerationConfig) -> Iterator[Demand]:
    """What `constraints` and then `force_words_ids` demand, in the library's order."""
    for constraint in config.constraints or ():
        match constraint:
            case PhrasalConstraint():
                yield Demand((tuple(constraint.token_ids),))
            case DisjunctiveConstraint():
                yield Demand(tuple(map(tuple, constraint.nested_token_ids)))
            case OrderedConstraint():
                chained: Demand | None = None
                for phrase in reversed(constraint.phrases):
                    chained = Demand((tuple(phrase),), chained)
                assert chained is not None
                yield chained
    for words in config.force_words_ids or ():
        phrases = tuple(tuple(word) for word in words if isinstance(word, list))
        yield Demand(phrases or (tuple(word for word in words if isinstance(word, int)),))
