"""Compiles grammars over text for one vocabulary, through llguidance."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from beamhouse.engine.logits.constraints.grammar_source import GrammarError, llguidance
from beamhouse.engine.logits.constraints.matching import Matcher, Vocabulary, faults
from beamhouse.engine.text.token_spelling import Spelling

Result = TypeVar("Result")

_DEEP_STACK_BYTES = 256 << 20
_STEPS_AHEAD = 4
_stack_size = threading.Lock()


class _Wrapped:
    """The spellings of a vocabulary as llguidance asks for them."""

    bos_token_id = None

    def __init__(self, spelling: Spelling) -> None:
        self.tokens = spelling.texts
        self.special_token_ids = spelling.special_ids
        self.eos_token_id = spelling.end
        self._spelling, self._special = spelling, frozenset(spelling.special_ids)
        ordinary = set(spelling.tables[0].spellings) - self._special
        self._numbers = {spelling.texts[number]: number for number in ordinary}
        self._longest = max(map(len, self._numbers))

    def __call__(self, text: bytes) -> list[int]:
        """Spellings that give the text: those the tokenizer makes of it, where they do, else the longest that fit.

        What follows a byte that none begins with is left out.
        """
        ids = self._spelling.tokenize(text.decode(errors="replace"))
        table = self._spelling.tables[0].spellings
        numbers = [table[token_id] if token_id < len(table) else self._spelling.never for token_id in ids]
        is_special = not self._special.isdisjoint(numbers)
        if not is_special and b"".join(self.tokens[number] for number in numbers) == text:
            return numbers
        return self._longest_first(text)

    def _longest_first(self, text: bytes) -> list[int]:
        numbers: list[int] = []
        while text:
            sizes = range(min(self._longest, len(text)), 0, -1)
            size = next((size for size in sizes if text[:size] in self._numbers), 0)
            if not size:
                break
            numbers.append(self._numbers[text[:size]])
            text = text[size:]
        return numbers


@dataclass(frozen=True, slots=True)
class GrammarCompiler:
    """Compiles grammars for one vocabulary."""

    vocabulary: Vocabulary

    @property
    def forces(self) -> bool:
        """Whether the tokenizer may say how a text is spelled: where every token adds the same in all places."""
        return self.vocabulary.is_complete and len(self.vocabulary.tables) == 1

    @classmethod
    def build(cls, spelling: Spelling) -> "GrammarCompiler":
        """Takes a second with a large vocabulary. Raises GrammarError."""
        with faults():
            tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Wrapped(spelling)))
        return cls(Vocabulary.of(spelling, tokenizer))

    def compile(self, grammar: str) -> Matcher:
        """A matcher at the start of the text. Takes up to half a second, in which others can run.

        Raises GrammarError, also if no token can begin the text.
        """
        return with_deep_stack(lambda: self._compile(grammar))

    def _compile(self, grammar: str) -> Matcher:
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
        with faults():
            state = llguidance.LLMatcher(self.vocabulary.tokenizer, grammar, log_level=0, limits=limits)
            matcher = Matcher(self.vocabulary, state, self.vocabulary.spelling.start)
            allowed, may_end = matcher.options()
            _walk(matcher)
        if not (may_end or allowed.any()):
            raise GrammarError("the tokens of this model cannot spell any text that it allows")
        return matcher


def _walk(matcher: Matcher) -> None:
    """Take the first steps, at which most grammars that ask too much of a step exceed the limits: GrammarError."""
    for _ in range(_STEPS_AHEAD):
        allowed = matcher.options()[0]
        following = matcher.advanced([int(allowed.argmax())]) if allowed.any() else None
        if following is None:
            return
        matcher = following


def with_deep_stack(work: Callable[[], Result]) -> Result:
    """The result of `work`, or what it raised.

    Rules that refer to each other in a long chain are followed by recursion, which would end the process on a stack of
    the usual size.
    """
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as fault:
            done.set_exception(fault)

    with _stack_size:
        usual = threading.stack_size(_DEEP_STACK_BYTES)
        try:
            threading.Thread(target=run, name="grammar").start()
        finally:
            threading.stack_size(usual)
    return done.result()
