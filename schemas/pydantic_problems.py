"""Says in our words what pydantic found wrong: values and ranges, and the problems of a configuration by field."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode

MAX_SHOWN = 64
RANGE_ERRORS = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "literal_error", "enum", "finite_number"}
)
LENGTH_ERRORS = frozenset({"too_long", "too_short", "string_too_long", "string_too_short"})
LOWS = (("minimum", "<="), ("exclusiveMinimum", "<"))
HIGHS = (("maximum", "<="), ("exclusiveMaximum", "<"))


def explain(errors: Iterable[Mapping[str, Any]], model: type[BaseModel]) -> list[Problem]:
    """One problem for each field of `model`, from the errors that `ValidationError.errors()` lists.

    Where a field takes several kinds of value, the one that came closest speaks. Values are shown if they are short.
    """
    problems: dict[str, Problem] = {}
    for error in errors:
        field = str(error["loc"][0]) if error["loc"] else ""
        problem = _problem(field, error, model)
        if field not in problems or problems[field].code is ProblemCode.WRONG_TYPE:
            problems[field] = problem
    return list(problems.values())


def _problem(field: str, error: Mapping[str, Any], model: type[BaseModel]) -> Problem:
    kind, inner = error["type"], ".".join(str(step) for step in error["loc"][1:])
    if kind == ProblemCode.OUT_OF_RANGE:
        return Problem(field, ProblemCode.OUT_OF_RANGE, error["msg"])
    if kind in RANGE_ERRORS or kind in LENGTH_ERRORS:
        code = ProblemCode.OUT_OF_RANGE
    else:
        code = ProblemCode.UNKNOWN_FIELD if kind == "extra_forbidden" else ProblemCode.WRONG_TYPE
    allowed = "" if inner else _range(field, model)
    if kind in RANGE_ERRORS and allowed:
        return Problem(field, code, f"{field} is {shown(error['input'])}; allowed: {allowed}")
    where = f"{field} ({inner})" if inner else field
    return Problem(field, code, f"{where} is {shown(error['input'])}: {error['msg']}")


def shown(value: object) -> str:
    """A value for people, short whatever it is."""
    match value:
        case str():
            text = value[:MAX_SHOWN].encode("unicode_escape").decode()[:MAX_SHOWN]
            return f'"{text}…"' if len(value) > MAX_SHOWN else f'"{text}"'
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case list() | tuple():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
        case _:
            return str(value)[:MAX_SHOWN]


@cache
def _range(field: str, model: type[BaseModel]) -> str:
    """The range or the choices of a field, from the same schema that the documentation shows; empty if it has none."""
    schema = model.model_json_schema()["properties"].get(field, {})
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    return " or ".join(filter(None, (range_in_words(field, option) for option in options)))


def range_in_words(name: str, schema: Mapping[str, Any]) -> str:
    """The choices of a JSON schema, or its range as `0 <= top_p <= 1`; empty if it has neither."""
    if "enum" in schema or "const" in schema:
        return ", ".join(shown(value) for value in schema.get("enum", [schema.get("const")]))
    low = next((f"{_number(schema[key])} {sign} " for key, sign in LOWS if key in schema), "")
    high = next((f" {sign} {_number(schema[key])}" for key, sign in HIGHS if key in schema), "")
    return f"{low}{name}{high}" if low or high else ""


def _number(bound: float) -> str:
    return f"{bound:.12g}" if isinstance(bound, float) else str(bound)
