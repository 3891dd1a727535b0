"""Places in a grammar: which tokens may follow there, and where they lead."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from beamhouse.engine.logits.constraints.grammar_source import GrammarError
from beamhouse.engine.text.token_spelling import Spelling, Table

Mask = npt.NDArray[np.bool_]

_FEW = 16  # where more tokens fit than these, some of them lead on
_MAX_LOOKED_AT = 100
_MAX_KNOWN = 10_000
_MAX_REASON_CHARS = 300
_NOTHING_FITS = "NoExtensionBias"  # how llguidance says that no token fits


@dataclass(frozen=True, slots=True)
class Columns:
    """A `Table` as arrays, (V,); of `owing` the ids and the spellings with the space, of equal length."""

    spellings: npt.NDArray[np.int32]
    silent: Mask
    owing: npt.NDArray[np.int32]
    with_space: npt.NDArray[np.int32]
    tied: dict[bytes, Mask]

    @classmethod
    def of(cls, table: Table) -> "Columns":
        return cls(
            np.array(table.spellings, np.int32),
            np.array(table.silent, np.bool_),
            np.array(list(table.owing), np.int32),
            np.array(list(table.owing.values()), np.int32),
            {tail: np.array(tied, np.bool_) for tail, tied in table.tied.items()},
        )


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The spellings of a model's tokens and the places of a text. tokenizer: the spellings in llguidance's form.

    is_complete: whether no text leads into a dead end for want of tokens.
    """

    spelling: Spelling
    tables: list[Columns]
    tokenizer: Any
    is_complete: bool

    @classmethod
    def of(cls, spelling: Spelling, tokenizer: Any) -> "Vocabulary":
        return cls(spelling, [Columns.of(table) for table in spelling.tables], tokenizer, spelling.is_complete)


@dataclass(slots=True, eq=False)
class Matcher:
    """A place in a grammar, and in the decoding of the text. Going on makes another one.

    state: llguidance's, in which nothing changes but what it remembers. place: the number of a table of the spelling.
    text: the whole text so far, where the vocabulary is not complete. known: which texts lead on, shared by all
    matchers of a grammar.
    """

    vocabulary: Vocabulary
    state: Any
    place: int
    text: bytes = b""
    known: dict[tuple[bytes, int], bool] = field(default_factory=dict)
    _options: tuple[Mask, bool] | None = field(default=None, init=False)

    @property
    def special_ids(self) -> list[int]:
        """Tokens that are no text; a grammar allows them where it names them."""
        return self.vocabulary.spelling.special_ids

    def advanced(self, token_ids: list[int]) -> "Matcher | None":
        """The place after some more tokens; None where the grammar does not allow them. Raises as `options` does."""
        state, place, text = self.state.deep_copy(), self.place, self.text
        spelling = self.vocabulary.spelling
        for token_id in token_ids:
            table = spelling.tables[place]
            number = table.spellings[token_id]
            if number != spelling.never:
                with faults():
                    is_allowed = state.try_consume_tokens([number]) == 1
                    if state.is_error():
                        raise GrammarError(reason(state.get_error()))
                if not is_allowed:
                    return None
                text += b"" if self.vocabulary.is_complete else spelling.texts[number]
            elif table.next[token_id] == place:
                return None
            place = table.next[token_id]
        return Matcher(self.vocabulary, state, place, text, self.known)

    def options(self) -> tuple[Mask, bool]:
        """The tokens that may follow, (V,), and whether the text may end here. Raises GrammarError at a limit.

        Where the vocabulary lacks tokens for some texts, those that lead into a dead end soon are left out.
        """
        allowed, may_end = self._fitting()
        if self.vocabulary.is_complete or not 0 < np.count_nonzero(allowed) <= _FEW:
            return allowed, may_end
        search, found = _Search(self.known), np.zeros_like(allowed)
        for token_id in np.flatnonzero(allowed).tolist():
            found[token_id] = search.leads_on(self.advanced([token_id]))
        return found, may_end

    def _fitting(self) -> tuple[Mask, bool]:
        """What the grammar allows next, wherever it leads."""
        if self._options is None:
            self._options = self._find_options()
        return self._options

    def _find_options(self) -> tuple[Mask, bool]:
        with faults():
            bits = self.state.compute_bitmask()
            error = self.state.get_error()
        if error.startswith(_NOTHING_FITS):
            return np.zeros(len(self.vocabulary.tables[0].spellings), np.bool_), False
        if error:
            raise GrammarError(reason(error))
        fits = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little").astype(np.bool_)
        spelling, table = self.vocabulary.spelling, self.vocabulary.tables[self.place]
        fits[spelling.never] = False
        may_end = bool(fits[spelling.end])
        allowed: Mask = fits[table.spellings] | table.silent
        if len(table.owing):
            allowed[table.owing] = self._that_owe(fits, may_end)
        for tail, tied in table.tied.items():
            if self.text.endswith(tail):
                allowed &= ~tied
        return allowed, may_end

    def _that_owe(self, fits: Mask, may_end: bool) -> Mask:
        """Which of the tokens that leave a space behind may follow: the text goes on with it, or ends before it."""
        spelling, table = self.vocabulary.spelling, self.vocabulary.tables[self.place]
        numbers = table.spellings[table.owing]
        allowed: Mask = fits[table.with_space]
        for at in np.flatnonzero(fits[numbers] & ~allowed):
            pair = [int(numbers[at]), spelling.end]
            allowed[at] = self.state.validate_tokens(pair) == len(pair)
        ending: Mask = (numbers == spelling.never) if may_end else np.zeros_like(allowed)
        return allowed | ending


@dataclass(slots=True)
class _Search:
    """Looks ahead for dead ends: places where the grammar asks for text that no token spells.

    known: by text and place, whether it leads on. left: how many places may still be looked at; beyond them all is
    taken to be well, as it is where many tokens fit.
    """

    known: dict[tuple[bytes, int], bool]
    left: int = _MAX_LOOKED_AT

    def leads_on(self, matcher: Matcher | None) -> bool:
        """Whether the end of the text, or a place where many tokens fit, can be reached from here."""
        if matcher is None:
            return False
        key = matcher.text, matcher.place
        if (known := self.known.get(key)) is not None:
            return known
        if not self.left:
            return True
        self.left -= 1
        allowed, may_end = matcher._fitting()
        token_ids = [] if may_end else np.flatnonzero(allowed).tolist()
        is_good = may_end or len(token_ids) > _FEW
        is_good = is_good or any(self.leads_on(matcher.advanced([token_id])) for token_id in token_ids)
        if self.left and len(self.known) < _MAX_KNOWN:
            self.known[key] = is_good
        return is_good


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Whatever goes wrong in llguidance is a GrammarError; a panic in it is no `Exception`."""
    try:
        yield
    except GrammarError:
        raise
    except BaseException as fault:
        if isinstance(fault, Exception) or type(fault).__module__ == "pyo3_runtime":
            raise GrammarError(reason(str(fault))) from fault
        raise


def reason(error: str) -> str:
    """An error in one line, without the grammar and the state that llguidance shows behind it."""
    shown = re.split(r"\n *\d+ \| |\n?<non-verbose/>", error, maxsplit=1)[0]
    line = " ".join(shown.split())
    half = _MAX_REASON_CHARS // 2
    return line if len(line) <= _MAX_REASON_CHARS else f"{line[:half]} … {line[-half:]}"
