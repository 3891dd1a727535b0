"""Regular expressions, JSON schemas and Lark grammars in llguidance's own form, checked for what it would pass over."""

import json
import re
from collections.abc import Iterator
from typing import Any

from beamhouse.engine.link.messages import Constraint
from beamhouse.schemas.problems import MAX_SHOWN

try:
    import llguidance
except ImportError:
    llguidance = None  # type: ignore[assignment]  # tested for before each use

__all__ = ["GrammarError", "llguidance", "require_llguidance", "source_of", "write_grammar"]

_MAX_SOURCE_CHARS = 65_536

WHITESPACE: dict[str, dict[str, Any]] = {
    "compact": {"whitespace_flexible": False},
    "single": {"whitespace_pattern": " "},
    "free": {"whitespace_flexible": True},
}
"""What may stand between the parts of JSON: nothing, at most one space, or as much white space as JSON allows."""

# Without it the tokens of a text of which only one is possible are those that the tokenizer makes of it.
_NO_FORCING = '\n%llguidance {"no_forcing": true}'
_STRINGS_AND_JSON = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|#[^\n]*|/(?:\\.|[^/\\])+/|%json\s*')
_VERBOSE = re.compile(r"\(\?[a-zA-Z]*x")
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_INNER = ("items", "additionalProperties", "additionalItems", "prefixItems", "anyOf", "oneOf", "allOf")
# The vocabulary of JSON Schema, from draft 4 to 2020-12. What of it is not supported llguidance names itself.
_WORDS = """
    type enum const anyOf oneOf allOf not if then else $ref $dynamicRef $recursiveRef items additionalItems prefixItems
    contains minContains maxContains uniqueItems minItems maxItems unevaluatedItems properties patternProperties
    additionalProperties propertyNames required minProperties maxProperties dependencies dependentRequired
    dependentSchemas unevaluatedProperties minLength maxLength pattern format minimum maximum exclusiveMinimum
    exclusiveMaximum multipleOf $defs definitions $anchor $dynamicAnchor $recursiveAnchor $schema $id id $comment
    $vocabulary title description default deprecated example examples readOnly writeOnly contentMediaType
    contentEncoding contentSchema discriminator
"""
_KEYWORDS = frozenset(_WORDS.split())


class GrammarError(ValueError):
    """The grammar is wrong, too large, or cannot be used with this tokenizer; or a text is not one of its own."""


def require_llguidance() -> None:
    """Raises GrammarError where it is not installed."""
    if llguidance is None:
        raise GrammarError("the server lacks the optional package llguidance, which grammars need")


def write_grammar(constraint: Constraint, forces: bool) -> str:
    """One of the three kinds of text in llguidance's own form. Raises GrammarError.

    forces: whether a text of which only one is possible is given the tokens that the tokenizer makes of it.
    """
    options = "" if forces else _NO_FORCING
    source = source_of(constraint)
    if len(source) > _MAX_SOURCE_CHARS:
        raise GrammarError(f"it has {len(source)} characters; allowed: at most {_MAX_SOURCE_CHARS}")
    if constraint.regex is not None:
        _check_regex(source)
        (grammar,) = json.loads(llguidance.LLMatcher.grammar_from_regex(source))["grammars"]
        return _grammars({"lark_grammar": grammar["lark_grammar"] + options})
    if constraint.json_schema is not None:
        schema = _with_whitespace(_read_schema(source), constraint.whitespace)
        return _grammars({"lark_grammar": "start: @schema" + options}, {"name": "schema", "json_schema": schema})
    return _grammars({"lark_grammar": _with_json_whitespace(source, constraint.whitespace) + options})


def _check_regex(source: str) -> None:
    """Refuse what is lost when an expression is written between the slashes of a Lark grammar."""
    if (len(source) - len(source.rstrip("\\"))) % 2:
        raise GrammarError("it ends with a backslash that escapes nothing")
    if "\n" in source and _VERBOSE.search(source):
        raise GrammarError("with the flag x it has to be one line; line breaks would not end its comments")


def source_of(constraint: Constraint) -> str:
    """The expression, the schema as JSON or the grammar. Raises GrammarError."""
    try:
        schema = constraint.json_schema
        schema_text = json.dumps(schema) if isinstance(schema, dict) else schema
    except RecursionError as error:
        raise GrammarError("it is nested too deeply") from error
    return next((one for one in (constraint.regex, schema_text, constraint.grammar) if one is not None), "")


def _grammars(*grammars: dict[str, Any]) -> str:
    return json.dumps({"grammars": grammars})


def _read_schema(source: str) -> dict[str, Any]:
    try:
        schema = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise GrammarError(f"it cannot be read as JSON: {type(error).__name__}") from error
    if not isinstance(schema, dict):
        raise GrammarError("a schema is an object")
    return schema


def _with_whitespace(schema: dict[str, Any], asked: str | None) -> dict[str, Any]:
    """The schema with the white space that was asked for, else its own, else at most one space."""
    for keyword, path in _unknown_keywords(schema):
        raise GrammarError(f"{keyword!r} at {path or '/'} is no keyword of JSON Schema that is supported")
    own = schema.get("x-guidance", {})
    if not isinstance(own, dict):
        raise GrammarError("x-guidance is an object")
    rules = WHITESPACE["single"]
    if asked is not None:
        rules, own = WHITESPACE[asked], {name: own[name] for name in own if not name.startswith("whitespace_")}
    elif any(name.startswith("whitespace_") for name in own):
        rules = {}
    return {**schema, "x-guidance": {**rules, **own}}


def _with_json_whitespace(lark: str, asked: str | None) -> str:
    """The grammar with that white space in every schema that it holds as `%json`."""
    written, done = [], 0
    at = 0
    while (match := _STRINGS_AND_JSON.search(lark, at)) is not None:
        at = match.end()
        if not match[0].startswith("%json"):
            continue
        try:
            schema, at = json.JSONDecoder().raw_decode(lark, match.end())
        except (ValueError, RecursionError):
            break  # what is wrong with it llguidance says, with the line
        if isinstance(schema, dict):
            written += [lark[done : match.end()], json.dumps(_with_whitespace(schema, asked))]
            done = at
    return "".join([*written, lark[done:]])


def _unknown_keywords(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that no draft of JSON Schema knows, with the path of the schema they stand in; `x-...` may be anything."""
    waiting: list[tuple[Any, str]] = [(schema, "")]
    while waiting:
        one, path = waiting.pop()
        if not isinstance(one, dict):
            continue
        for key, value in one.items():
            if key not in _KEYWORDS and not key.startswith("x-"):
                yield key[:MAX_SHOWN], path[:200]
            if key in _BY_NAME and isinstance(value, dict):
                waiting += [(inner, f"{path}/{key}/{name}") for name, inner in value.items()]
            elif key in _INNER:
                inners = value if isinstance(value, list) else [value]
                waiting += [(inner, f"{path}/{key}/{number}") for number, inner in enumerate(inners)]
