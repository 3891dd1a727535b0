"""Says what is wrong with a body in our own words: pointer, code, what was given, what is allowed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.problem_json import FieldProblem, ProblemJson
from beamhouse.schemas.pydantic_problems import explain
from beamhouse.schemas.words import ErrorCode
from beamhouse.server.edge.dialects import respond
from beamhouse.server.edge.errors import (
    MAX_ERRORS,
    MAX_MESSAGE,
    code_of,
    cut,
    pointer,
    problem_json,
    request_id_of,
    summary,
)

MAX_READ = 40


async def on_validation_error(request: Request, error: Exception) -> Response:
    """Answer a body that does not fit its model."""
    assert isinstance(error, RequestValidationError)
    model = next((kind for kind in body_models(request)), GenerateRequest)
    request.app.state.service.metrics.refuse(request.url.path, 422)
    return respond(request, problem_of_body(error, model, request_id_of(request)))


def problem_of_body(error: RequestValidationError, model: type[BaseModel], request_id: str = "") -> ProblemJson:
    """What is said of a body that does not fit its model."""
    raw = [{**item, "loc": item["loc"][1:]} for item in error.errors() if item["loc"][:1] == ("body",)]
    errors = problems_of(raw, error.body, model) if raw else problems_of(error.errors(), {}, model)
    return problem_json(
        status=422,
        code=code_of(errors) or ErrorCode.INVALID_REQUEST,
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


def problems_of(errors: Sequence[Mapping[str, Any]], body: object, model: type[BaseModel]) -> list[FieldProblem]:
    """What is told of the errors that pydantic found in a body."""
    explained = explain(errors[:MAX_READ], body, model)
    return [
        FieldProblem(pointer=pointer(path), code=code, message=cut(message, MAX_MESSAGE))
        for path, (code, message) in explained.items()
    ][:MAX_ERRORS]
