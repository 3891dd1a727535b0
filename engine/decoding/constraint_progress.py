"""How far a hypothesis is through the phrases it must hold."""

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, replace
from functools import cached_property

from beamhouse.engine.logits.constraints.trie import Node, tree_of
from beamhouse.engine.logits.rows import Ids, as_ids
from beamhouse.schemas.generation.parts import (
    AnyConstraint,
    DisjunctiveConstraint,
    OrderedConstraint,
    PhrasalConstraint,
)
from beamhouse.schemas.generation.resolved import Resolved

MOST_KNOWN = 64
"""Orders of waiting demands whose openings a request remembers."""


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """One of the phrases of a tree has to come. longest: of them, in tokens. then: what is demanded only after it."""

    root: Node
    longest: int
    then: "Demand | None" = None

    @classmethod
    def of(cls, phrases: Seq[Seq[int]], then: "Demand | None" = None) -> "Demand":
        return cls(tree_of(phrases), max(map(len, phrases)), then)

    def chain(self) -> Iterator["Demand"]:
        yield self
        if self.then is not None:
            yield from self.then.chain()


@dataclass(frozen=True, slots=True, eq=False)
class Openings:
    """What may begin or go on. steps: by token, the demand that is then under way, and where in its tree.

    by_bank: the same tokens in one array for each bank that they lead to.
    """

    steps: dict[int, tuple[Demand, Node]]
    by_bank: list[Ids]

    @classmethod
    def of(cls, steps: dict[int, tuple[Demand, Node]]) -> "Openings":
        banks: dict[int, list[int]] = {}
        for token, (demand, node) in steps.items():
            banks.setdefault(missing(demand, node), []).append(token)
        return cls(steps, [as_ids(token_ids) for token_ids in banks.values()])


def missing(demand: Demand, node: Node) -> int:
    """Tokens that a demand lacks at a place in its tree, reckoned by its longest phrase."""
    return 0 if node.is_leaf else demand.longest - node.depth


class Known:
    """The openings of demands that wait, for all hypotheses of a request: they are many, and mostly the same."""

    def __init__(self) -> None:
        self._openings: dict[tuple[Demand, ...], Openings] = {}

    def of(self, waiting: tuple[Demand, ...]) -> Openings:
        found = self._openings.get(waiting)
        if found is None:
            steps: dict[int, tuple[Demand, Node]] = {}
            for demand in waiting:
                for token, node in demand.root.children.items():
                    steps.setdefault(token, (demand, node))
            if len(self._openings) >= MOST_KNOWN:
                self._openings.clear()
            found = self._openings[waiting] = Openings.of(steps)
        return found


@dataclass(frozen=True)
class ConstraintProgress:
    """Where a sequence stands. Never changed in place, so that forks share it.

    At most one demand is under way; a token that breaks it sends it back to the end of those that wait, and is not
    tried as the beginning of another. at: where in the tree of the open demand. Equals
    transformers.ConstraintListState of 4.x, with ordered phrases beside. known: shared by all of a request.
    """

    waiting: tuple[Demand, ...]
    longest: int
    num_left: int
    num_complete: int = 0
    open: Demand | None = None
    at: Node | None = None
    known: Known = field(default_factory=Known, compare=False)

    @classmethod
    def start(cls, demands: Iterable[Demand]) -> "ConstraintProgress":
        waiting = tuple(demands)
        every = [link for demand in waiting for link in demand.chain()]
        return cls(waiting, max(one.longest for one in every), len(every))

    @property
    def is_complete(self) -> bool:
        return self.num_left == 0

    @property
    def next_ids(self) -> Collection[int]:
        """The tokens that would make progress, each once; none when all phrases are there."""
        return () if self.is_complete else self._openings.steps

    @property
    def next_by_bank(self) -> list[Ids]:
        """The same tokens in one array for each bank that they lead to."""
        return [] if self.is_complete else self._openings.by_bank

    @cached_property
    def _openings(self) -> Openings:
        if self.open is not None and self.at is not None:
            return Openings.of({token: (self.open, node) for token, node in self.at.children.items()})
        return self.known.of(self.waiting)

    def bank_after(self, token: int) -> int:
        """The rank of a hypothesis by its progress: the tokens that its phrases count for, complete ones in full."""
        if self.is_complete:
            return self.num_complete * self.longest
        demand, node = self._openings.steps.get(token, (None, None))
        if demand is None or node is None:
            return self.num_complete * self.longest
        return (self.num_complete + 1) * self.longest - missing(demand, node)

    def after(self, token: int) -> "ConstraintProgress":
        if self.is_complete:
            return self
        demand, node = self._openings.steps.get(token, (None, None))
        if demand is None or node is None:
            if self.open is None:
                return self
            return replace(self, waiting=(*self.waiting, self.open), open=None, at=None)
        waiting = self.waiting if self.open is not None else tuple(one for one in self.waiting if one is not demand)
        if not node.is_leaf:
            return replace(self, waiting=waiting, open=demand, at=node)
        return replace(
            self,
            waiting=waiting if demand.then is None else (*waiting, demand.then),
            num_left=self.num_left - 1,
            num_complete=self.num_complete + 1,
            open=None,
            at=None,
        )

    def after_all(self, token_ids: Iterable[int]) -> "ConstraintProgress":
        progress = self
        for token in token_ids:
            progress = progress.after(token)
        return progress


def demands_of(config: Resolved) -> Iterator[Demand]:
    """What `constraints` and then `force_words_ids` demand, in the library's order."""
    if config.constraints is not None:
        yield from map(_demand_of_constraint, config.constraints)
    if config.force_words_ids is not None:
        yield from map(_demand_of_words, config.force_words_ids)


def _demand_of_constraint(constraint: AnyConstraint) -> Demand:
    match constraint:
        case PhrasalConstraint():
            return Demand.of([constraint.token_ids])
        case DisjunctiveConstraint():
            return Demand.of(constraint.nested_token_ids)
        case OrderedConstraint():
            chained: Demand | None = None
            for phrase in reversed(constraint.phrases):
                chained = Demand.of([phrase], chained)
            assert chained is not None
            return chained


def _demand_of_words(words: list[int] | list[list[int]]) -> Demand:
    phrases = [word for word in words if isinstance(word, list)]
    return Demand.of(phrases or [[word for word in words if isinstance(word, int)]])
