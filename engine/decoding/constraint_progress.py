"""How far a hypothesis is through the phrases it must hold."""

from collections.abc import Collection, Iterable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from functools import cached_property

from engine.logits.rows import Ids, as_ids
from engine.logits.trie import Node, tree_of
from schemas.generation import GenerationConfig
from schemas.generation_parts import DisjunctiveConstraint, OrderedConstraint, PhrasalConstraint


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


@dataclass(frozen=True)
class Progress:
    """Where a sequence stands. Never changed in place, so that forks share it.

    At most one demand is under way; a token that breaks it sends it back to the end of those that wait, and is not
    tried as the beginning of another. at: where in the tree of the open demand. Equals
    transformers.ConstraintListState of 4.x, with ordered phrases beside.
    """

    waiting: tuple[Demand, ...]
    longest: int
    num_left: int
    num_complete: int = 0
    open: Demand | None = None
    at: Node | None = None

    @classmethod
    def start(cls, demands: Iterable[Demand]) -> "Progress":
        waiting = tuple(demands)
        every = [link for demand in waiting for link in demand.chain()]
        return cls(waiting, max(one.longest for one in every), len(every))

    @property
    def is_complete(self) -> bool:
        return self.num_left == 0

    @property
    def next_ids(self) -> Collection[int]:
        """The tokens that would make progress, each once; none when all phrases are there."""
        return () if self.is_complete else self._steps

    @cached_property
    def _steps(self) -> dict[int, tuple[Demand, Node]]:
        """What each of these tokens leads to: the demand that is then under way, and where in its tree."""
        if self.open is not None and self.at is not None:
            return {token: (self.open, node) for token, node in self.at.children.items()}
        steps: dict[int, tuple[Demand, Node]] = {}
        for demand in self.waiting:
            for token, node in demand.root.children.items():
                steps.setdefault(token, (demand, node))
        return steps

    @cached_property
    def next_by_bank(self) -> list[Ids]:
        """The same tokens in one array for each bank that they lead to."""
        banks: dict[int, list[int]] = {}
        for token in self.next_ids:
            banks.setdefault(self.bank_after(token), []).append(token)
        return [as_ids(token_ids) for token_ids in banks.values()]

    def bank_after(self, token: int) -> int:
        """The rank of a hypothesis by its progress: the tokens that its phrases count for, complete ones in full."""
        if self.is_complete:
            return self.num_complete * self.longest
        demand, node = self._steps.get(token, (None, None))
        if demand is None or node is None:
            return self.num_complete * self.longest
        missing = 0 if node.is_leaf else demand.longest - node.depth
        return (self.num_complete + 1) * self.longest - missing

    def after(self, token: int) -> "Progress":
        if self.is_complete:
            return self
        demand, node = self._steps.get(token, (None, None))
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

    def after_all(self, token_ids: Iterable[int]) -> "Progress":
        progress = self
        for token in token_ids:
            progress = progress.after(token)
        return progress


def demands_of(config: GenerationConfig) -> Iterator[Demand]:
    """What `constraints` and then `force_words_ids` demand, in the library's order."""
    for constraint in config.constraints or ():
        match constraint:
            case PhrasalConstraint():
                yield Demand.of([constraint.token_ids])
            case DisjunctiveConstraint():
                yield Demand.of(constraint.nested_token_ids)
            case OrderedConstraint():
                chained: Demand | None = None
                for phrase in reversed(constraint.phrases):
                    chained = Demand.of([phrase], chained)
                assert chained is not None
                yield chained
    for words in config.force_words_ids or ():
        phrases = [word for word in words if isinstance(word, list)]
        yield Demand.of(phrases or [[word for word in words if isinstance(word, int)]])
