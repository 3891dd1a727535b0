"""Says in our words what pydantic found wrong with a configuration that came from a file or from Python."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from schemas.problems import Problem

MAX_SHOWN_CHARS = 40
RANGE_ERRORS = ("finite_number", "greater_than", "greater_than_equal", "less_than", "less_than_equal", "literal_error")
LENGTH_ERRORS = ("too_long", "too_short", "string_too_long", "string_too_short")


def explain(errors: Iterable[Mapping[str, Any]], model: type[BaseModel]) -> list[Problem]:
    """One problem for each field of `model`, from the errors that `ValidationError.errors()` lists.

    Where a field takes several kinds of value, the one that came closest speaks. Values are shown if they are short.
    """
    problems: dict[str, Problem] = {}
    for error in errors:
        field = str(error["loc"][0]) if error["loc"] else ""
        problem = _problem(field, error, model)
        if field not in problems or problems[field].code == "wrong_type":
            problems[field] = problem
    return list(problems.values())


def _problem(field: str, error: Mapping[str, Any], model: type[BaseModel]) -> Problem:
    kind, inner = error["type"], ".".join(str(step) for step in error["loc"][1:])
    if kind == "out_of_range":
        return Problem(field, kind, error["msg"])
    if kind in RANGE_ERRORS or kind in LENGTH_ERRORS:
        code = "out_of_range"
    else:
        code = "unknown_field" if kind == "extra_forbidden" else "wrong_type"
    allowed = "" if inner else _range(field, model)
    if kind in RANGE_ERRORS and allowed:
        return Problem(field, code, f"{field} is {_shown(error['input'])}; allowed: {allowed}")
    where = f"{field} ({inner})" if inner else field
    return Problem(field, code, f"{where} is {_shown(error['input'])}: {error['msg']}")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = json.dumps(value) if isinstance(value, str | bool | None) else repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."


@cache
def _range(field: str, model: type[BaseModel]) -> str:
    """The range or the choices of a field, from the same schema that the documentation shows; empty if it has none."""
    schema = model.model_json_schema()["properties"].get(field, {})
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    return " or ".join(filter(None, (_in_words(field, option) for option in options)))


def _in_words(field: str, schema: Mapping[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return ", ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    lows = {"minimum": "<=", "exclusiveMinimum": "<"}
    highs = {"maximum": "<=", "exclusiveMaximum": "<"}
    low = next((f"{schema[key]:.12g} {sign} " for key, sign in lows.items() if key in schema), "")
    high = next((f" {sign} {schema[key]:.12g}" for key, sign in highs.items() if key in schema), "")
    return f"{low}{field}{high}" if low or high else ""
