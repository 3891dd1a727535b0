"""Token sequences as a tree: which tokens continue one of them."""

import json
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from pathlib import Path

from engine.logits.rows import Ids, as_ids


@dataclass(eq=False, slots=True)
class Node:
    """A place in the tree. is_end: one of the sequences ends here."""

    children: dict[int, "Node"] = field(default_factory=dict)
    is_end: bool = False
    _ids: Ids | None = None

    def add(self, token_ids: Iterable[int]) -> None:
        node = self
        for token in token_ids:
            node = node.children.setdefault(token, Node())
        node.is_end = True

    @property
    def next_ids(self) -> Ids:
        """The tokens that go on from here. The tree must not grow any more."""
        if self._ids is None:
            self._ids = as_ids(list(self.children))
        return self._ids


@dataclass(frozen=True, slots=True)
class Trie:
    """largest_id: the highest token id in it; a vocabulary must reach further."""

    root: Node
    largest_id: int

    @classmethod
    def build(cls, sequences: Iterable[Seq[int]]) -> "Trie":
        """Raises ValueError for no sequence, an empty one, or a negative id."""
        root, largest = Node(), -1
        for sequence in sequences:
            if not sequence or min(sequence) < 0:
                raise ValueError("each sequence needs at least one token id, none below 0")
            root.add(sequence)
            largest = max(largest, *sequence)
        if not root.children:
            raise ValueError("at least one sequence is needed")
        return cls(root, largest)


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
