"""Puts Lark grammars together, in llguidance's dialect: texts that may hold special tokens, and text up to a mark."""

import json
import re
from collections.abc import Mapping
from typing import Any

TEXT, BLANKS = "TEXT", "BLANKS"
"""Any text, and any white space; of no special token."""

_TERMINALS = f"{TEXT}: /(.|\\n)*/\n{BLANKS}: /[ \\n\\r\\t]*/"

_NAMED = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTED = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_INNER = frozenset({"items", "additionalProperties"})
_SAID = frozenset({"description", "title", "$comment"})


class Rules:
    """The rules of one grammar. special_ids: the special tokens of the tokenizer, which no text can spell."""

    def __init__(self, special_ids: Mapping[str, int]) -> None:
        self._special_ids = special_ids
        ordered = sorted(special_ids, key=len, reverse=True)
        self._special = re.compile("(" + "|".join(map(re.escape, ordered)) + ")") if ordered else None
        self._lines = list[str]()

    def add(self, expression: str, attribute: str = "") -> str:
        """The name of a new rule."""
        name = f"r{len(self._lines)}"
        self._lines.append(f"{name}{attribute}: {expression}")
        return name

    def text(self, literal: str) -> str:
        """Exactly this text, in which special tokens are tokens."""
        parts = self._special.split(literal) if self._special else [literal]
        return " ".join(
            f"<[{self._special_ids[part]}]>" if part in self._special_ids else json.dumps(part, ensure_ascii=False)
            for part in parts
            if part
        )

    def until(self, mark: str) -> str:
        """Any text up to a mark, and the mark; the text cannot hold it."""
        if self._special and self._special.match(mark):
            return f"{TEXT} {self.text(mark)}"
        return self.add(f"{TEXT} {self.text(mark)}", "[lazy]")

    def value(self, schema: Mapping[str, Any]) -> str:
        """JSON of this schema."""
        return f"%json {json.dumps(_obeyed(schema))}"

    def grammar(self, start: str) -> str:
        """The whole grammar, for texts of this expression."""
        return "\n".join([f"start: {start}", *self._lines, _TERMINALS])


def either(expressions: list[str]) -> str:
    """One of several expressions."""
    return expressions[0] if len(expressions) == 1 else f"({' | '.join(expressions)})"


def _obeyed(schema: Any) -> Any:
    """A schema without what is only said of values to a reader, which may be most of it."""
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _NAMED and isinstance(value, Mapping):
            kept[keyword] = {name: _obeyed(inner) for name, inner in value.items()}
        elif keyword in _LISTED and isinstance(value, list):
            kept[keyword] = [_obeyed(inner) for inner in value]
        elif keyword in _INNER:
            kept[keyword] = _obeyed(value)
        elif not (keyword in _SAID and isinstance(value, str)):
            kept[keyword] = value
    return kept
