"""Token sequences as a tree: which tokens continue one of them."""

import json
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path

from beamhouse.engine.logits.rows import Ids, as_ids

_SMALL = 256
"""So many sequences are divided among branches within a fraction of a millisecond."""


class Node:
    """A place in a tree over sequences of tokens, `depth` tokens behind the root.

    Small branches are made when they are first looked at: what no sequence reaches stays a list.
    end: which of the sequences ends here (the last of equal ones); None: none does. is_leaf: nothing goes on.
    """

    __slots__ = ("_children", "_ids", "_members", "_sequences", "depth", "end", "is_leaf")

    def __init__(self, sequences: Seq[Seq[int]], members: Seq[int], depth: int = 0) -> None:
        """members: places of the sequences that lead through here."""
        self._sequences, self._members, self.depth = sequences, members, depth
        self._children: dict[int, Node] | None = None
        self._ids: Ids | None = None
        self.end: int | None = None
        self.is_leaf = True
        for member in members:
            if len(sequences[member]) == depth:
                self.end = member
            else:
                self.is_leaf = False

    @property
    def children(self) -> dict[int, "Node"]:
        """By token, in the order of the sequences."""
        if self._children is None:
            groups: dict[int, list[int]] = {}
            for member in self._members:
                if len(self._sequences[member]) > self.depth:
                    groups.setdefault(self._sequences[member][self.depth], []).append(member)
            self._children = {token: Node(self._sequences, group, self.depth + 1) for token, group in groups.items()}
            self._members = ()
        return self._children

    @property
    def is_end(self) -> bool:
        return self.end is not None

    def grow(self) -> None:
        """Make all branches that are not small, so that none of them is made in a step."""
        if len(self._members) > _SMALL:
            for child in self.children.values():
                child.grow()

    @property
    def next_ids(self) -> Ids:
        """The tokens that go on from here."""
        if self._ids is None:
            self._ids = as_ids(list(self.children))
        return self._ids


def tree_of(sequences: Seq[Seq[int]]) -> Node:
    """The root of the tree over sequences, which must not change any more. No branch of it is left to be long made."""
    root = Node(sequences, range(len(sequences)))
    root.grow()
    return root


@dataclass(frozen=True, slots=True)
class Trie:
    """largest_id: the highest token id in it; a vocabulary must reach further."""

    root: Node
    largest_id: int

    @classmethod
    def build(cls, sequences: Iterable[Seq[int]]) -> "Trie":
        """Raises ValueError for no sequence, an empty one, or a negative id."""
        given = list(sequences)
        if not all(sequence and min(sequence) >= 0 for sequence in given):
            raise ValueError("each sequence needs at least one token id, none below 0")
        if not given:
            raise ValueError("at least one sequence is needed")
        return cls(tree_of(given), max(map(max, given)))


def load_tries(files: Mapping[str, str | Path]) -> dict[str, Trie]:
    """Read named tries from JSON files that hold a list of lists of token ids. Raises ValueError naming the file."""
    tries = {}
    for name, file in files.items():
        content = json.loads(Path(file).read_text(encoding="utf-8"))
        is_right = isinstance(content, list) and all(
            isinstance(ids, list) and all(type(token) is int for token in ids) for ids in content
        )
        if not is_right:
            raise ValueError(f"{file}: a trie is a JSON list of lists of token ids")
        try:
            tries[name] = Trie.build(content)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
    return tries
