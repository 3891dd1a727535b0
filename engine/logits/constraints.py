"""`prefix_allowed_tokens_fn` as data: which tokens may come next, from a list, a trie or a grammar."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import InvalidRequest, RequestFailed, invalid
from engine.logits.grammar import GrammarCompiler, GrammarError, Matcher, write_grammar
from engine.logits.processor import check_ids
from engine.logits.rows import Ids, as_ids
from engine.logits.trie import Node, Trie
from engine.messages import Constraint
from engine.request import Row

FIELD = "prefix_allowed_tokens"
_MAX_IDS = 2**18

Mask = npt.NDArray[np.bool_]


class Allowance(Protocol):
    """A compiled constraint."""

    def mark(self, row: Row, mask: Mask) -> str | None:
        """Set the tokens that may come next in `mask`, (V,). Returns why where it sets none.

        Raises RequestFailed where that cannot be told.
        """
        ...


@dataclass(frozen=True, slots=True)
class AllowedIds:
    """The same tokens at every step; end tokens only if listed."""

    token_ids: Ids

    def mark(self, row: Row, mask: Mask) -> str | None:
        mask[self.token_ids] = True
        return None


@dataclass(frozen=True, slots=True)
class AllowedSequences:
    """The generated tokens follow one of several sequences, then an end token."""

    trie: Trie

    def mark(self, row: Row, mask: Mask) -> str | None:
        node: Node | None = _progress(row, self.trie.root, _walk)
        if node is None:
            return "the tokens follow none of the sequences"
        mask[node.next_ids] = True
        if node.is_end:
            mark_ends(row, mask)
        return None if mask.any() else "the sequence is complete, and the request has no end token"


@dataclass(frozen=True, slots=True)
class AllowedText:
    """The generated text follows a grammar. End tokens are allowed where it may end, and only there."""

    start: Matcher

    def mark(self, row: Row, mask: Mask) -> str | None:
        try:
            matcher: Matcher | None = _progress(row, self.start, Matcher.advanced)
            if matcher is None:
                return "the text is none that is allowed"
            allowed = matcher.mask()
        except GrammarError as error:
            raise RequestFailed(f"{FIELD}: {error}") from error
        known = min(len(mask), matcher.end_id)
        mask[:known] = allowed[:known]
        mask[_ends(row, mask)] = False
        if allowed[matcher.end_id]:
            mark_ends(row, mask)
        if mask.any():
            return None
        return "the text is complete, and the request has no end token" if allowed[matcher.end_id] else "no token fits"


class Constraints:
    """Compiles constraints for one model. The vocabulary is prepared for grammars once, by `warm_up` or by the first.

    tries: those requests may name. tokenizer_json: the content of `tokenizer.json`, or None: then no grammars.
    """

    def __init__(self, vocab_size: int, tries: Mapping[str, Trie], tokenizer_json: str | None) -> None:
        self.tries = tries
        self._vocab_size = vocab_size
        self._tokenizer_json = tokenizer_json
        self._compiler: GrammarCompiler | None = None

    def warm_up(self) -> None:
        """Prepare the vocabulary for grammars now, so that no running request waits while the first one is compiled."""
        if self._tokenizer_json is not None:
            with contextlib.suppress(InvalidRequest):  # no grammars here; who sends one is told
                self.compile(Constraint(regex="a"))

    def compile(self, constraint: Constraint) -> Allowance:
        """Raises InvalidRequest naming `prefix_allowed_tokens`."""
        given = [name for name in constraint.__struct_fields__ if getattr(constraint, name) is not None]
        if len(given) != 1:
            choice = ", ".join(constraint.__struct_fields__)
            raise invalid(FIELD, "conflict", f"{len(given)} kinds of constraint are given; allowed: one of {choice}")
        if constraint.token_ids is not None:
            return self._ids(constraint.token_ids)
        if constraint.sequences is not None:
            return self._sequences(constraint.sequences)
        if constraint.trie is not None:
            return self._named(constraint.trie)
        return self._grammar(constraint)

    def _ids(self, token_ids: list[int]) -> Allowance:
        if not 0 < len(token_ids) <= _MAX_IDS:
            text = f"token_ids has {len(token_ids)} entries; allowed: 1 to {_MAX_IDS}"
            raise invalid(FIELD, "out_of_range", text)
        ids = as_ids(token_ids)
        check_ids(FIELD, ids, self._vocab_size)
        return AllowedIds(ids)

    def _sequences(self, sequences: list[list[int]]) -> Allowance:
        num_ids = sum(len(sequence) for sequence in sequences)
        if num_ids > _MAX_IDS:
            raise invalid(FIELD, "out_of_range", f"sequences hold {num_ids} ids; allowed: at most {_MAX_IDS}")
        try:
            trie = Trie.build(sequences)
        except ValueError as error:
            raise invalid(FIELD, "out_of_range", f"sequences: {error}") from error
        return self._checked(trie)

    def _named(self, name: str) -> Allowance:
        trie = self.tries.get(name)
        if trie is None:
            known = ", ".join(sorted(self.tries)) or "none"
            raise invalid(FIELD, "unknown_name", f"there is no trie {name[:64]!r}; known: {known}")
        return self._checked(trie)

    def _checked(self, trie: Trie) -> Allowance:
        check_ids(FIELD, as_ids([trie.largest_id]), self._vocab_size)
        return AllowedSequences(trie)

    def _grammar(self, constraint: Constraint) -> Allowance:
        if self._tokenizer_json is None:
            raise invalid(FIELD, "not_supported", "grammars need a tokenizer, and this model has none")
        try:
            grammar = write_grammar(constraint.regex, constraint.json_schema, constraint.grammar)
            if self._compiler is None:
                self._compiler = GrammarCompiler.build(self._tokenizer_json)
            return AllowedText(self._compiler.compile(grammar))
        except GrammarError as error:
            raise invalid(FIELD, "invalid_grammar", str(error)) from error


class _Progress(msgspec.Struct, frozen=True):
    """How far a constraint has followed a sequence; kept in its memory, so that it forks with it.

    place: None outside the constraint, whence nothing leads back.
    """

    token_ids: list[int]
    place: Any


def _progress(row: Row, start: Any, advance: Callable[[Any, list[int]], Any]) -> Any:
    """The place after the generated tokens, None outside. advance: from a place over some tokens.

    What is remembered counts only while the tokens still begin with it.
    """
    generated = list(row.sequence.generated_ids)
    known: _Progress | None = row.sequence.memory.get(FIELD)
    if known is None or known.token_ids != generated[: len(known.token_ids)]:
        known = _Progress([], start)
    new = generated[len(known.token_ids) :]
    if new:
        known = _Progress(generated, None if known.place is None else advance(known.place, new))
    row.sequence.memory[FIELD] = known
    return known.place


def _walk(node: Node, token_ids: list[int]) -> Node | None:
    for token in token_ids:
        child = node.children.get(token)
        if child is None:
            return None
        node = child
    return node


def _ends(row: Row, mask: Mask) -> list[int]:
    return [end for end in row.request.eos_token_ids if 0 <= end < len(mask)]


def mark_ends(row: Row, mask: Mask) -> None:
    """Allow the end tokens of the row's request."""
    mask[_ends(row, mask)] = True
