"""`prefix_allowed_tokens_fn` as data: which tokens may come next, from a list, a trie or a grammar."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec

from beamhouse.engine.link.errors import InvalidRequest, RequestFailed, invalid
from beamhouse.engine.link.messages import Constraint
from beamhouse.engine.logits.constraints.grammar import GrammarCompiler
from beamhouse.engine.logits.constraints.grammar_source import (
    GrammarError,
    require_llguidance,
    source_of,
    write_grammar,
)
from beamhouse.engine.logits.constraints.matching import Mask, Matcher
from beamhouse.engine.logits.constraints.trie import Node, Trie
from beamhouse.engine.logits.remembered import Remembered
from beamhouse.engine.logits.rows import Ids, as_ids
from beamhouse.engine.state.memory import Memory, Slot
from beamhouse.engine.state.request import Request, Row
from beamhouse.engine.text.token_spelling import NotSpelled, Spelling
from beamhouse.schemas.words import ProblemCode

CONSTRAINT = "prefix_allowed_tokens"
_MAX_REMEMBERED = 64

Place = TypeVar("Place")


class Allowance(Protocol):
    """A compiled constraint."""

    def mark(self, row: Row, mask: Mask) -> str | None:
        """Set the tokens that may come next in `mask`, (V,). Returns why where it sets none.

        A row that has left the constraint may end: a beam for lack of others, or by a token that is forced. Raises
        RequestFailed where the tokens cannot be told.
        """
        ...

    def is_complete(self, generated: list[int], memory: Memory) -> bool:
        """Whether the tokens are all that is allowed, so that nothing but an end token could follow.

        memory: of the sequence, which may know where a beginning of them led.
        """
        ...


ALLOWANCE = Slot[Allowance](CONSTRAINT)


@dataclass(frozen=True, slots=True)
class AllowedIds:
    """The same tokens at every step; end tokens only if listed."""

    token_ids: Ids

    def mark(self, row: Row, mask: Mask) -> str | None:
        mask[self.token_ids] = True
        return None

    def is_complete(self, generated: list[int], memory: Memory) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class AllowedSequences:
    """The generated tokens follow one of several sequences, then an end token."""

    trie: Trie

    def mark(self, row: Row, mask: Mask) -> str | None:
        node = _remembered(row, _AT_NODE, self.trie.root, _walk)
        if node is None:
            return _leave(row, mask)
        mask[node.next_ids] = True
        if node.is_end:
            _mark_ends(row, mask)
        return None if mask.any() else "the sequence is complete, and the request has no end token"

    def is_complete(self, generated: list[int], memory: Memory) -> bool:
        node = _progress(memory.get(_AT_NODE), generated, self.trie.root, _walk).place
        return node is not None and node.is_leaf


@dataclass(frozen=True, slots=True)
class AllowedText:
    """The generated text follows a grammar. End tokens are allowed where it may end, and only there.

    A grammar that names a special token which ends the request ends with it.
    """

    start: Matcher

    def mark(self, row: Row, mask: Mask) -> str | None:
        try:
            matcher = _remembered(row, _AT_MATCHER, self.start, Matcher.advanced)
            if matcher is None:
                return _leave(row, mask)
            allowed, may_end = matcher.options()
        except GrammarError as error:
            raise RequestFailed(f"{CONSTRAINT}: {error}") from error
        mask[:] = allowed
        mask[[end for end in _ends(row, mask) if end not in matcher.special_ids]] = False
        if may_end:
            _mark_ends(row, mask)
        if mask.any():
            return None
        return "the text is complete, and the request has no end token" if may_end else "no token fits"

    def is_complete(self, generated: list[int], memory: Memory) -> bool:
        try:
            matcher = _progress(memory.get(_AT_MATCHER), generated, self.start, Matcher.advanced).place
            allowed, may_end = matcher.options() if matcher is not None else (None, False)
        except GrammarError:
            return False  # the next step says what is wrong
        return may_end and allowed is not None and not allowed.any()


class Constraints:
    """Compiles constraints for one model, from any thread. Grammars that were compiled lately are remembered.

    tries: those requests may name. spell: what the tokens of the vocabulary add to a text, or None for a model without
    a tokenizer: then no grammars. The vocabulary is prepared for them once, by `warm_up` or by the first.
    """

    def __init__(self, vocab_size: int, tries: Mapping[str, Trie], spell: Callable[[int], Spelling] | None) -> None:
        self.tries = tries
        self._vocab_size = vocab_size
        self._spell = spell
        self._tries = Remembered[Trie]()
        self._texts = Remembered[AllowedText](_MAX_REMEMBERED)
        self._compiler: GrammarCompiler | None = None
        self._compiling = threading.Lock()

    def warm_up(self) -> None:
        """Prepare the vocabulary for grammars now, so that nobody waits for that later."""
        if self._spell is not None:
            with contextlib.suppress(InvalidRequest):  # no grammars here; who sends one is told
                self.compile(Constraint(regex="a"))

    def compile(self, constraint: Constraint) -> Allowance:
        """Raises InvalidRequest naming `prefix_allowed_tokens`."""
        if constraint.token_ids is not None:
            return AllowedIds(as_ids(constraint.token_ids))
        if constraint.sequences is not None:
            sequences = constraint.sequences
            return AllowedSequences(self._tries.get(sequences, lambda: Trie.build(sequences)))
        if constraint.trie is not None:
            return self._named(constraint.trie)
        return self._text(constraint)

    def _named(self, name: str) -> Allowance:
        trie = self.tries[name]
        if trie.largest_id >= self._vocab_size:
            text = f"{name} holds {trie.largest_id}; allowed: 0 to {self._vocab_size - 1}"
            raise invalid(CONSTRAINT, ProblemCode.OUT_OF_RANGE, text)
        return AllowedSequences(trie)

    def _text(self, constraint: Constraint) -> Allowance:
        """Known ones at once, whatever else is being compiled."""
        field = f"{CONSTRAINT}.{constraint.kind}"
        try:
            key = (constraint.kind, source_of(constraint), constraint.whitespace)
            return self._texts.get(key, lambda: self._compiled(constraint))
        except NotSpelled as error:
            text = f"this model's tokenizer cannot be constrained by text: {error}; give token_ids or sequences"
            raise invalid(field, ProblemCode.NOT_SUPPORTED, text) from error
        except GrammarError as error:
            raise invalid(field, ProblemCode.INVALID_GRAMMAR, str(error)) from error

    def _compiled(self, constraint: Constraint) -> AllowedText:
        require_llguidance()
        with self._compiling:
            if self._compiler is None:
                assert self._spell is not None
                self._compiler = GrammarCompiler.build(self._spell(self._vocab_size))
            return AllowedText(self._compiler.compile(write_grammar(constraint, self._compiler.forces)))


def is_complete(request: Request, known: list[int], added: list[int], memory: Memory) -> bool:
    """Whether the constraint of a request without an end token has all that it allows: then the sequence ends.

    known: the sequence with its prompt. memory: of the sequence, before the added tokens.
    """
    allowance = None if request.config.eos_token_ids else request.memory.get(ALLOWANCE)
    return allowance is not None and allowance.is_complete([*known[request.num_prompt :], *added], memory)


class _Progress(msgspec.Struct, Generic[Place], frozen=True):
    """How far a constraint has followed a sequence; kept in its memory, so that it forks with it.

    place: None outside the constraint, whence nothing leads back.
    """

    token_ids: list[int]
    place: Place | None


_AT_NODE = Slot[_Progress[Node]]("place in a trie")
_AT_MATCHER = Slot[_Progress[Matcher]]("place in a grammar")


def _remembered(
    row: Row, slot: Slot[_Progress[Place]], start: Place, advance: Callable[[Place, list[int]], Place | None]
) -> Place | None:
    """The place after the generated tokens of a row, None outside; its sequence remembers it."""
    memory = row.sequence.memory
    memory[slot] = found = _progress(memory.get(slot), list(row.sequence.generated_ids), start, advance)
    return found.place


def _progress(
    known: _Progress[Place] | None,
    generated: list[int],
    start: Place,
    advance: Callable[[Place, list[int]], Place | None],
) -> _Progress[Place]:
    """How far the tokens lead. advance: from a place over some tokens.

    What is remembered counts only while the tokens still begin with it.
    """
    if known is None or known.token_ids != generated[: len(known.token_ids)]:
        known = _Progress([], start)
    new = generated[len(known.token_ids) :]
    if new:
        known = _Progress(generated, None if known.place is None else advance(known.place, new))
    return known


def _walk(node: Node, token_ids: list[int]) -> Node | None:
    for token in token_ids:
        child = node.children.get(token)
        if child is None:
            return None
        node = child
    return node


def _leave(row: Row, mask: Mask) -> str | None:
    _mark_ends(row, mask)
    return None if mask.any() else "no token leads back to what is allowed"


def _ends(row: Row, mask: Mask) -> list[int]:
    return [end for end in row.request.config.eos_token_ids if 0 <= end < len(mask)]


def _mark_ends(row: Row, mask: Mask) -> None:
    mask[_ends(row, mask)] = True
