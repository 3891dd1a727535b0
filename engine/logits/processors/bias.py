"""Biases on the last token of a sequence of tokens, once the tokens before it are in place."""

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beamhouse.engine.logits.constraints.trie import Node, tree_of
from beamhouse.engine.logits.processor import Processor
from beamhouse.engine.logits.remembered import Remembered
from beamhouse.engine.logits.rows import Ids, Rows, as_ids
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request
from beamhouse.schemas.generation.resolved import given

_Phrase = tuple[int, ...]
_Tokens = tuple[Ids, npt.NDArray[np.float32]]
_NOTHING: _Tokens = (as_ids([]), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class BiasTable:
    """Biases by the tokens that must come before.

    always: those that nothing has to precede. behind: a tree over the other beginnings, read backwards. entries: of
    each of them the tokens and biases. ranks: of each the place of its length among all lengths, as they first appear,
    which makes sums of several biases on one token come out as in the library.
    """

    always: _Tokens
    behind: Node
    entries: Seq[tuple[list[int], list[float]]]
    ranks: Seq[int]

    @classmethod
    def build(cls, biases: Mapping[_Phrase, float]) -> "BiasTable":
        found: dict[_Phrase, tuple[list[int], list[float]]] = {(): ([], [])}
        for phrase, bias in biases.items():
            token_ids, values = found.setdefault(phrase[:-1], ([], []))
            token_ids.append(phrase[-1])
            values.append(bias)
        always = found.pop(())
        order = {length: rank for rank, length in enumerate(dict.fromkeys(map(len, found)))}
        beginnings = tree_of([prefix[::-1] for prefix in found])
        return cls(_arrays(always), beginnings, list(found.values()), [order[len(prefix)] for prefix in found])

    def matching(self, token_ids: Seq[int]) -> list[_Tokens]:
        """Tokens and biases of all beginnings that are in place, in their order."""
        found: list[int] = []
        node = self.behind
        for token in reversed(token_ids):
            if node.is_leaf or token not in node.children:
                break
            node = node.children[token]
            if node.end is not None:
                found.append(node.end)
        found.sort(key=self.ranks.__getitem__)
        return [self.always, *(_arrays(self.entries[place]) for place in found)]


def _arrays(entry: tuple[list[int], list[float]]) -> _Tokens:
    return as_ids(entry[0]), np.array(entry[1], np.float32)


class SequenceBias(Processor):
    """Add a bias to the last token of a phrase. Equals transformers.SequenceBiasLogitsProcessor."""

    name = "sequence_bias"
    reads = frozenset({"sequence_bias"})
    equals = "SequenceBiasLogitsProcessor"
    table = Slot[BiasTable](name)

    def __init__(self) -> None:
        self._tables = Remembered[BiasTable]()

    def applies(self, request: Request) -> bool:
        return request.config.sequence_bias is not None

    def prepare(self, request: Request, vocab_size: int) -> None:
        biases = given(request.config.sequence_bias)
        request.memory[self.table] = self._tables.get((biases, vocab_size), lambda: self._build(biases, vocab_size))

    def _build(self, biases: Seq[tuple[list[int], float]], vocab_size: int) -> BiasTable:
        phrases = {tuple(phrase): float(bias) for phrase, bias in biases}
        return BiasTable.build(phrases)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return _add(rows, scores, [row.request.memory[self.table] for row in rows])


class BadWords(Processor):
    """Ban the last token of a phrase once the others are in place. A phrase that is one end token is left out.

    Equals transformers.NoBadWordsLogitsProcessor.
    """

    name = "bad_words_ids"
    reads = frozenset({"bad_words_ids"})
    equals = "NoBadWordsLogitsProcessor"
    table = Slot[BiasTable](name)

    def __init__(self) -> None:
        self._tables = Remembered[BiasTable]()

    def applies(self, request: Request) -> bool:
        return request.config.bad_words_ids is not None

    def prepare(self, request: Request, vocab_size: int) -> None:
        asked = given(request.config.bad_words_ids), request.config.eos_token_ids
        request.memory[self.table] = self._tables.get((*asked, vocab_size), lambda: self._build(*asked, vocab_size))

    def _build(self, phrases: Seq[list[int]], ends: tuple[int, ...], vocab_size: int) -> BiasTable:
        words = {tuple(phrase) for phrase in phrases} - {(end,) for end in ends}
        return BiasTable.build(dict.fromkeys(words, -torch.inf))

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return _add(rows, scores, [row.request.memory[self.table] for row in rows])


def _add(rows: Rows, scores: Tensor, tables: list[BiasTable]) -> Tensor:
    bias = torch.zeros_like(scores)
    found = [table.matching(row.sequence.token_ids) for row, table in zip(rows, tables, strict=True)]
    for level in range(max(map(len, found))):
        here = [one[level] if level < len(one) else _NOTHING for one in found]
        values = np.concatenate([biases for _, biases in here])
        if len(values):
            bias[rows.places([ids for ids, _ in here])] += torch.from_numpy(values).to(rows.device)
    return scores.add_(bias)
