"""Says in our words what pydantic found wrong: where, what was given, what is allowed."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ProblemCode

RANGE_ERRORS = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "literal_error", "enum", "finite_number"}
)
LENGTH_ERRORS = frozenset({"too_long", "too_short", "string_too_long", "string_too_short"})
LOWS = (("minimum", "<="), ("exclusiveMinimum", "<"))
HIGHS = (("maximum", "<="), ("exclusiveMaximum", "<"))
KINDS = {
    "int": "an integer",
    "float": "a number",
    "string": "a text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "model": "an object",
    "model_attributes": "an object",
    "none": "null",
}
OWN = frozenset({ProblemCode.NOT_SUPPORTED, ProblemCode.CONFLICT, ProblemCode.OUT_OF_RANGE})
Schema = Mapping[str, Any]
Location = tuple[str | int, ...]
Explanation = tuple[ProblemCode, str]


@dataclass(frozen=True, slots=True)
class PydanticFault:
    """One error of pydantic, placed in the content that was given."""

    path: Location
    kind: str
    message: str
    value: Any


def explain(
    errors: Iterable[Mapping[str, Any]], content: object, model: type[BaseModel]
) -> dict[Location, Explanation]:
    """By place what is wrong there; where a union failed in several ways, the one that came furthest speaks.

    errors: as `ValidationError.errors()` lists them. content: what was given to `model`.
    """
    faults = [place(error, content) for error in errors]
    problems: dict[Location, Explanation] = {}
    for fault in faults:
        is_overtaken = any(
            len(other.path) > len(fault.path) and other.path[: len(fault.path)] == fault.path for other in faults
        )
        if is_overtaken and fault.kind.endswith("_type"):
            continue
        known = problems.get(fault.path)
        if known is None or (known[0] is ProblemCode.WRONG_TYPE and not fault.kind.endswith("_type")):
            problems[fault.path] = explained(fault, model)
        elif fault.kind.endswith("_type") and known[0] is ProblemCode.WRONG_TYPE:
            expected = KINDS.get(fault.kind.removesuffix("_type"), "")
            if expected and expected not in known[1]:
                problems[fault.path] = (known[0], f"{known[1]} or {expected}")
    return problems


def place(error: Mapping[str, Any], content: object) -> PydanticFault:
    """Drop the names of union branches from the location, so that it is a path inside the content."""
    path: list[str | int] = []
    value = content
    *parents, last = error["loc"] or ("",)
    for part in (*parents, last):
        inside_object = isinstance(value, dict) and part in value
        inside_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if inside_object or inside_list:
            path.append(part)
            value = value[part]  # type: ignore[index]  # one of the two lines above made sure
        elif part is last and error["type"] == "missing":
            path.append(part)
            value = None
    return PydanticFault(tuple(path), error["type"], error["msg"], value)


def explained(fault: PydanticFault, model: type[BaseModel]) -> Explanation:
    name, schema = name_of(fault.path), schema_of(model)
    if fault.kind == "missing":
        return ProblemCode.MISSING, f"{name} is missing"
    if fault.kind == "extra_forbidden":
        return unknown(fault.path, model)
    if fault.kind in OWN:
        return ProblemCode(fault.kind), fault.message
    if fault.kind in RANGE_ERRORS:
        return ProblemCode.OUT_OF_RANGE, f"{name} is {shown(fault.value)}; allowed: {allowed(fault, schema)}"
    if fault.kind in LENGTH_ERRORS:
        message = f"{name} has {length(fault.value)}; allowed: {allowed_length(fault, schema)}"
        return ProblemCode.OUT_OF_RANGE, message
    if fault.kind == "union_tag_invalid":
        kinds = fault.message.rpartition(": ")[2].replace("'", '"')
        return ProblemCode.OUT_OF_RANGE, f"{name} is of no kind that is known here; allowed: {kinds}"
    if fault.kind == "union_tag_not_found":
        return ProblemCode.WRONG_TYPE, f"{name} does not say of which kind it is; expected an object with a type"
    if fault.kind.endswith("_type"):
        expected = KINDS.get(fault.kind.removesuffix("_type"), "another type")
        return ProblemCode.WRONG_TYPE, f"{name} is {shown(fault.value)}; expected {expected}"
    return ProblemCode.INVALID, f"{name}: {fault.message}"


def unknown(path: Location, model: type[BaseModel]) -> Explanation:
    """What to say of a key that no model knows: refused for now, elsewhere, misspelt, or none of these."""
    key, schema = str(path[-1]), schema_of(model)
    known = properties(schema, path[:-1])
    if len(path) == 1 and key in getattr(model, "not_supported", ()):
        return ProblemCode.NOT_SUPPORTED, f"not supported yet: {key}"
    message = f"{key[:MAX_SHOWN]} is not a field"
    below = properties(schema, (*path[:-1], "generation_config")) if "generation_config" in known else {}
    if key in below:
        return ProblemCode.UNKNOWN_FIELD, f"{message} of the body; did you mean generation_config.{key}?"
    if guess := difflib.get_close_matches(key[:MAX_SHOWN], known, n=1):
        return ProblemCode.UNKNOWN_FIELD, f"{message}; did you mean {guess[0]}?"
    return ProblemCode.UNKNOWN_FIELD, message


def name_of(path: Location) -> str:
    """The last key of a path and the indices behind it: `inputs[1]`."""
    keys = [index for index, part in enumerate(path) if isinstance(part, str)]
    if not keys:
        return "the body"
    return str(path[keys[-1]])[:MAX_SHOWN] + "".join(f"[{part}]" for part in path[keys[-1] + 1 :])


def length(value: object) -> str:
    if isinstance(value, str):
        return f"{len(value)} characters"
    return f"{len(value)} items" if isinstance(value, list) else shown(value)


@cache
def schema_of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def branches(schema: Schema, root: Schema) -> list[Schema]:
    """The schema itself, or all the ones it is a union of, with references followed."""
    if "$ref" in schema:
        return branches(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    union = schema.get("anyOf") or schema.get("oneOf")
    return [found for part in union for found in branches(part, root)] if union else [schema]


def schemas_at(root: Schema, path: Location) -> list[Schema]:
    """Every schema that the value at a path may follow."""
    current = branches(root, root)
    for part in path:
        found: list[Schema] = []
        for schema in current:
            if isinstance(part, str):
                below = schema.get("properties", {}).get(part)
            else:
                prefix = schema.get("prefixItems", [])
                below = prefix[part] if part < len(prefix) else schema.get("items")
            if isinstance(below, Mapping):
                found += branches(below, root)
        current = found
    return current


def properties(root: Schema, path: Location) -> dict[str, Any]:
    return {key: item for schema in schemas_at(root, path) for key, item in schema.get("properties", {}).items()}


def allowed(fault: PydanticFault, root: Schema) -> str:
    """The range or the choices of a field, as `0 <= top_p <= 1`."""
    name = name_of(fault.path)
    found = (range_in_words(name, schema) for schema in schemas_at(root, fault.path))
    return next(filter(None, found), fault.message)


def allowed_length(fault: PydanticFault, root: Schema) -> str:
    unit = "Length" if isinstance(fault.value, str) else "Items"
    for schema in schemas_at(root, fault.path):
        low, high = schema.get(f"min{unit}"), schema.get(f"max{unit}")
        if low is not None and high is not None:
            return str(low) if low == high else f"{low} to {high}"
        if low is not None or high is not None:
            return f"at least {low}" if high is None else f"at most {high}"
    return fault.message


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


def range_in_words(name: str, schema: Mapping[str, Any]) -> str:
    """The choices of a JSON schema, or its range as `0 <= top_p <= 1`; empty if it has neither."""
    if "enum" in schema or "const" in schema:
        return ", ".join(shown(value) for value in schema.get("enum", [schema.get("const")]))
    low = next((f"{_number(schema[key])} {sign} " for key, sign in LOWS if key in schema), "")
    high = next((f" {sign} {_number(schema[key])}" for key, sign in HIGHS if key in schema), "")
    return f"{low}{name}{high}" if low or high else ""


def _number(bound: float) -> str:
    return f"{bound:.12g}" if isinstance(bound, float) else str(bound)
