"""Whatever is sent to a route, the answer is none of a broken server, and is as /openapi.json describes it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.openapi import from_asgi
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from beamhouse.server.app import create_app
from tests.fakes import FakeEngine, fake_info, save_byte_tokenizer
from tests.http.conftest import make_settings


def is_refused(context: CheckContext, response: Response, case: Case) -> bool | None:
    """TGI's streams have status 200 whatever happens: there what is wrong is the only event."""
    if response.content.startswith(b'data: {"error"'):
        return None
    return negative_data_rejection(context, response, case)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    is_refused,
]
FEW, MANY = 12, 300
PATHS: dict[str, dict[str, Any]] = create_app(FakeEngine(None), make_settings()).openapi()["paths"]
OPERATIONS = [(path, method) for path, methods in PATHS.items() for method in methods]
WITH_BODY = [(path, method) for path, method in OPERATIONS if "requestBody" in PATHS[path][method]]
EXAMPLES = [
    pytest.param(path, method, example["value"], id=f"{path} {name}")
    for path, method in WITH_BODY
    for name, example in PATHS[path][method]["requestBody"]["content"]["application/json"].get("examples", {}).items()
]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> OpenApiSchema:
    tokenizer_file = save_byte_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return from_asgi("/openapi.json", create_app(FakeEngine(fake_info(tokenizer_file)), make_settings()))


def send_drawn(operation: APIOperation, mode: GenerationMode, number: int) -> None:
    """Requests that fit the document, or that do not; each answer is held to it."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=number, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def is_answered_as_described(case):
        case.call_and_validate(checks=CHECKS)

    is_answered_as_described()


def test_the_document_is_one_of_openapi(described):
    described.validate()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_fits_the_document_is_answered_as_it_says(described, path, method):
    send_drawn(described[path][method], GenerationMode.POSITIVE, FEW)


@pytest.mark.parametrize(("path", "method"), WITH_BODY)
def test_what_does_not_fit_the_document_is_refused_as_it_says(described, path, method):
    send_drawn(described[path][method], GenerationMode.NEGATIVE, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("path", "method"), WITH_BODY)
def test_many_bodies_are_answered_as_the_document_says(described, path, method, mode):
    send_drawn(described[path][method], mode, MANY)


@pytest.mark.parametrize(("path", "method", "body"), EXAMPLES)
def test_examples_of_the_document_are_answered_with_success(described, path, method, body):
    case = described[path][method].Case(body=body, media_type="application/json")
    response = case.call()
    assert response.status_code == 200, response.text
    case.validate_response(response, checks=CHECKS)


@pytest.mark.parametrize(("path", "method"), WITH_BODY)
def test_every_body_has_an_example(path, method):
    assert PATHS[path][method]["requestBody"]["content"]["application/json"]["examples"]


def test_events_that_are_not_described_are_noticed(described):
    """The other tests see into streams: each event is held to the kinds that the document has."""
    case = described["/generate"]["POST"].Case(body=EXAMPLES[0].values[2], media_type="application/json")
    response = case.call()
    response.content = response.content.replace(b'"index"', b'"place"')
    with pytest.raises(FailureGroup, match="SSE event violates schema"):
        case.validate_response(response, checks=CHECKS)


def test_every_group_of_routes_is_explained():
    document = create_app(FakeEngine(None), make_settings()).openapi()
    used = {operation["tags"][0] for methods in PATHS.values() for operation in methods.values()}
    assert {tag["name"] for tag in document["tags"]} == used
    assert all(tag["description"] for tag in document["tags"])
