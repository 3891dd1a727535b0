"""Says what is wrong with a body in our own words: pointer, code, what was given, what is allowed."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from beamhouse.schemas.beamhouse.generate import Body, GenerateRequest, Outputs
from beamhouse.schemas.beamhouse.problem_json import FieldProblem, ProblemJson
from beamhouse.schemas.pydantic_problems import LENGTH_ERRORS, MAX_SHOWN, RANGE_ERRORS, range_in_words, shown
from beamhouse.schemas.words import ErrorCode, ProblemCode
from beamhouse.server.edge.errors import (
    MAX_ERRORS,
    MAX_MESSAGE,
    cut,
    pointer,
    problem_json,
    request_id_of,
    respond,
    summary,
)

MAX_READ = 40
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


class Fault(BaseModel):
    """One error of pydantic, placed in the body that was sent."""

    path: list[str | int]
    kind: str
    message: str
    value: Any


async def on_validation_error(request: Request, error: Exception) -> Response:
    """Answer a body that does not fit its model."""
    assert isinstance(error, RequestValidationError)
    model = next((kind for kind in body_models(request)), GenerateRequest)
    request.app.state.service.metrics.refuse(request.url.path, 422)
    return respond(problem_of_body(error, model, request_id_of(request)))


def problem_of_body(error: RequestValidationError, model: type[BaseModel], request_id: str = "") -> ProblemJson:
    """What is said of a body that does not fit its model."""
    raw = [{**item, "loc": item["loc"][1:]} for item in error.errors() if item["loc"][:1] == ("body",)]
    errors = explain(raw, error.body, model) if raw else explain(error.errors(), {}, model)
    codes = {item.code for item in errors}
    return problem_json(
        status=422,
        code=ErrorCode.NOT_SUPPORTED if codes == {ProblemCode.NOT_SUPPORTED} else ErrorCode.INVALID_REQUEST,
        detail=summary([item.message for item in errors]),
        request_id=request_id,
        errors=errors,
    )


def body_models(request: Request) -> Iterable[type[BaseModel]]:
    """The model of the route's body, if it has one."""
    field = getattr(request.scope.get("route"), "body_field", None)
    annotation = getattr(getattr(field, "field_info", None), "annotation", None)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def explain(errors: Sequence[Mapping[str, Any]], body: object, model: type[BaseModel]) -> list[FieldProblem]:
    """One problem per place; where a union failed in several ways, the one that came furthest speaks."""
    faults = [place(error, body) for error in errors[:MAX_READ]]
    schema = schema_of(model)
    problems: dict[str, FieldProblem] = {}
    for fault in faults:
        is_overtaken = any(
            len(other.path) > len(fault.path) and other.path[: len(fault.path)] == fault.path for other in faults
        )
        where = pointer(fault.path)
        if is_overtaken and fault.kind.endswith("_type"):
            continue
        known = problems.get(where)
        if known is None or (known.code is ProblemCode.WRONG_TYPE and not fault.kind.endswith("_type")):
            problems[where] = describe(fault, schema)
        elif fault.kind.endswith("_type") and known.code is ProblemCode.WRONG_TYPE:
            expected = KINDS.get(fault.kind.removesuffix("_type"), "")
            if expected and expected not in known.message:
                problems[where] = known.model_copy(update={"message": f"{known.message} or {expected}"})
    return list(problems.values())[:MAX_ERRORS]


def place(error: Mapping[str, Any], body: object) -> Fault:
    """Drop the names of union branches from the location, so that it is a path inside the body."""
    path: list[str | int] = []
    value = body
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
    return Fault(path=path, kind=error["type"], message=error["msg"], value=value)


def describe(fault: Fault, schema: Schema) -> FieldProblem:
    name = name_of(fault.path)
    code, message = ProblemCode.INVALID, f"{name}: {fault.message}"
    if fault.kind == "missing":
        code, message = ProblemCode.MISSING, f"{name} is missing"
    elif fault.kind == "extra_forbidden":
        code, message = unknown(fault.path, schema)
    elif fault.kind in OWN:
        code, message = ProblemCode(fault.kind), fault.message
    elif fault.kind in RANGE_ERRORS:
        code, message = ProblemCode.OUT_OF_RANGE, f"{name} is {shown(fault.value)}; allowed: {allowed(fault, schema)}"
    elif fault.kind in LENGTH_ERRORS:
        code, message = (
            ProblemCode.OUT_OF_RANGE,
            f"{name} has {length(fault.value)}; allowed: {allowed_length(fault, schema)}",
        )
    elif fault.kind.endswith("_type"):
        expected = KINDS.get(fault.kind.removesuffix("_type"), "another type")
        code, message = ProblemCode.WRONG_TYPE, f"{name} is {shown(fault.value)}; expected {expected}"
    return FieldProblem(pointer=pointer(fault.path), code=code, message=cut(message, MAX_MESSAGE))


def unknown(path: Sequence[str | int], schema: Schema) -> tuple[ProblemCode, str]:
    """What to say of a key that no model knows: refused for now, elsewhere, misspelt, or none of these."""
    *parents, key = (str(part) for part in path)
    owner: type[Body] = Outputs if parents == ["outputs"] else GenerateRequest
    known = properties(schema, path[:-1])
    if key in owner.not_supported and len(parents) <= 1 and known.keys() >= owner.model_fields.keys():
        return ProblemCode.NOT_SUPPORTED, f"not supported yet: {key}"
    message = f"{key[:MAX_SHOWN]} is not a field"
    below = properties(schema, [*path[:-1], "generation_config"]) if "generation_config" in known else {}
    if key in below:
        return ProblemCode.UNKNOWN_FIELD, f"{message} of the body; did you mean generation_config.{key}?"
    if guess := difflib.get_close_matches(key[:MAX_SHOWN], known, n=1):
        return ProblemCode.UNKNOWN_FIELD, f"{message}; did you mean {guess[0]}?"
    return ProblemCode.UNKNOWN_FIELD, message


def name_of(path: Sequence[str | int]) -> str:
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


def schemas_at(root: Schema, path: Sequence[str | int]) -> list[Schema]:
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


def properties(root: Schema, path: Sequence[str | int]) -> dict[str, Any]:
    return {key: item for schema in schemas_at(root, path) for key, item in schema.get("properties", {}).items()}


def allowed(fault: Fault, root: Schema) -> str:
    """The range or the choices of a field, as `0 <= top_p <= 1`."""
    name = name_of(fault.path)
    found = (range_in_words(name, schema) for schema in schemas_at(root, fault.path))
    return next(filter(None, found), fault.message)


def allowed_length(fault: Fault, root: Schema) -> str:
    unit = "Length" if isinstance(fault.value, str) else "Items"
    for schema in schemas_at(root, fault.path):
        low, high = schema.get(f"min{unit}"), schema.get(f"max{unit}")
        if low is not None and high is not None:
            return str(low) if low == high else f"{low} to {high}"
        if low is not None or high is not None:
            return f"at least {low}" if high is None else f"at most {high}"
    return fault.message
