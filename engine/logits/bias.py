"""Biases on the last token of a sequence of tokens, once the tokens before it are in place."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.logits.processor import Processor, check_ids
from engine.logits.rows import Ids, Rows, as_ids
from engine.request import Request, Row

_Phrase = tuple[int, ...]
_Tokens = tuple[Ids, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class BiasTable:
    """Biases by the tokens that must come before. lengths: of those prefixes, in order of their first appearance.

    The order makes sums of several biases on one token come out as in the library.
    """

    after: Mapping[_Phrase, _Tokens]
    lengths: tuple[int, ...]

    @classmethod
    def build(cls, biases: Mapping[_Phrase, float]) -> "BiasTable":
        found: dict[_Phrase, list[tuple[int, float]]] = {}
        for phrase, bias in biases.items():
            found.setdefault(phrase[:-1], []).append((phrase[-1], bias))
        after = {
            prefix: (as_ids([token for token, _ in entries]), np.array([bias for _, bias in entries], np.float32))
            for prefix, entries in found.items()
        }
        longer = dict.fromkeys(len(prefix) for prefix in after if prefix)
        return cls(after, (0, *longer))

    def matching(self, row: Row, level: int) -> _Tokens | None:
        """Tokens and biases of the prefixes of `lengths[level]` tokens: at most one such prefix is in place."""
        token_ids = row.sequence.token_ids
        if level >= len(self.lengths) or self.lengths[level] > len(token_ids):
            return None
        return self.after.get(tuple(token_ids[len(token_ids) - self.lengths[level] :]))


class SequenceBias(Processor):
    """Add a bias to the last token of a phrase. Equals transformers.SequenceBiasLogitsProcessor."""

    name = "sequence_bias"
    reads = frozenset({"sequence_bias"})
    equals = "SequenceBiasLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return request.config.sequence_bias is not None

    def prepare(self, request: Request, vocab_size: int) -> None:
        phrases = {tuple(phrase): float(bias) for phrase, bias in request.config.sequence_bias or []}
        _check(f"generation_config.{self.name}", phrases, vocab_size)
        request.prepared[self.name] = BiasTable.build(phrases)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return _add(rows, scores, [row.request.prepared[self.name] for row in rows])


class BadWords(Processor):
    """Ban the last token of a phrase once the others are in place. A phrase that is one end token is left out.

    Equals transformers.NoBadWordsLogitsProcessor.
    """

    name = "bad_words_ids"
    reads = frozenset({"bad_words_ids"})
    equals = "NoBadWordsLogitsProcessor"

    def applies(self, request: Request) -> bool:
        return request.config.bad_words_ids is not None

    def prepare(self, request: Request, vocab_size: int) -> None:
        field = f"generation_config.{self.name}"
        words = {tuple(phrase) for phrase in request.config.bad_words_ids or []}
        words -= {(end,) for end in request.eos_token_ids}
        _check(field, words, vocab_size)
        request.prepared[self.name] = BiasTable.build(dict.fromkeys(words, -torch.inf))

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return _add(rows, scores, [row.request.prepared[self.name] for row in rows])


def _check(field: str, phrases: Iterable[_Phrase], vocab_size: int) -> None:
    check_ids(field, as_ids([token for phrase in phrases for token in phrase]), vocab_size)


def _add(rows: Rows, scores: Tensor, tables: list[BiasTable]) -> Tensor:
    bias = torch.zeros_like(scores)
    for level in range(max(len(table.lengths) for table in tables)):
        found = [table.matching(row, level) for row, table in zip(rows, tables, strict=True)]
        at = rows.places([as_ids([]) if one is None else one[0] for one in found])
        values = [one[1] for one in found if one is not None]
        if values:
            bias[at] += torch.from_numpy(np.concatenate(values)).to(rows.device)
    return scores.add_(bias)
