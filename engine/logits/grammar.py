"""Regular expressions, JSON schemas and Lark grammars over text, as masks over tokens, through llguidance."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer

try:
    import llguidance
except ImportError:
    llguidance = None  # type: ignore[assignment]  # tested for before each use

_END = "<|end of constrained text|>"
_MAX_SOURCE_CHARS = 65_536


class GrammarError(ValueError):
    """The grammar is wrong, too large, or cannot be used with this tokenizer."""


def write_grammar(regex: str | None, json_schema: dict[str, Any] | None, lark: str | None) -> str:
    """One of the three in llguidance's own form. Raises GrammarError."""
    _require()
    try:
        source = json.dumps(json_schema) if json_schema is not None else lark if lark is not None else regex or ""
    except RecursionError as error:
        raise GrammarError("it is nested too deeply") from error
    if len(source) > _MAX_SOURCE_CHARS:
        raise GrammarError(f"it has {len(source)} characters; allowed: at most {_MAX_SOURCE_CHARS}")
    make = llguidance.LLMatcher
    if json_schema is not None:
        return str(make.grammar_from_json_schema(source))
    return str(make.grammar_from_lark(source) if lark is not None else make.grammar_from_regex(source))


@dataclass(frozen=True, slots=True)
class GrammarCompiler:
    """Holds the vocabulary in llguidance's form. end_id: a token of our own that stands for the end of the text.

    It lies behind the vocabulary, so that no grammar and no model can choose it by accident; models without an end
    token need none, and one whose end token is ordinary text cannot end early.
    """

    tokenizer: Any
    end_id: int

    @classmethod
    def build(cls, tokenizer_json: str) -> "GrammarCompiler":
        """Takes a second with a large vocabulary. Raises GrammarError."""
        _require()
        try:
            extended = Tokenizer.from_str(tokenizer_json)
            extended.add_special_tokens([AddedToken(_END, special=True, normalized=False)])
            end_id = extended.get_vocab()[_END]
            tokenizer = llguidance.LLTokenizer(extended.to_str(), eos_token=end_id)
        except Exception as error:
            raise GrammarError(f"grammars do not work with this tokenizer: {error}") from error
        return cls(tokenizer, end_id)

    def compile(self, grammar: str) -> "Matcher":
        """A matcher at the start of the text. Raises GrammarError, also if no token can begin the text."""
        # Work per step is bounded to some ten milliseconds, memory to some tens of megabytes.
        limits = llguidance.LLParserLimits(
            max_items_in_row=1000,
            initial_lexer_fuel=100_000,
            step_lexer_fuel=50_000,
            step_max_items=25_000,
            max_lexer_states=25_000,
            max_grammar_size=100_000,
            verbose_errors=False,
        )
        matcher = Matcher(llguidance.LLMatcher(self.tokenizer, grammar, log_level=0, limits=limits), self.end_id)
        if not matcher.mask().any():
            raise GrammarError("no token can begin a text it allows")
        return matcher


@dataclass(frozen=True, slots=True)
class Matcher:
    """A place in a grammar. Never changed: going on makes another one."""

    state: Any
    end_id: int

    def advanced(self, token_ids: list[int]) -> "Matcher | None":
        """The place after some more tokens; None where the grammar does not allow them. Raises as `mask` does."""
        if max(token_ids, default=0) >= self.end_id:
            return None
        state = self.state.deep_copy()
        num_allowed = state.try_consume_tokens(token_ids)
        if state.is_error():
            raise GrammarError(_reason(state))
        return Matcher(state, self.end_id) if num_allowed == len(token_ids) else None

    def mask(self) -> npt.NDArray[np.bool_]:
        """The tokens that may follow, the end token of our own included. Raises GrammarError when a limit is met."""
        state = self.state.deep_copy()
        bits = state.compute_bitmask()
        if state.is_error():
            raise GrammarError(_reason(state))
        return np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little").astype(np.bool_)


def _require() -> None:
    if llguidance is None:
        raise GrammarError("the server lacks the optional package llguidance, which grammars need")


def _reason(state: Any) -> str:
    """The first lines of an error, without the grammar and the state that follow."""
    return str(state.get_error()).split("<")[0].strip()[:500]
