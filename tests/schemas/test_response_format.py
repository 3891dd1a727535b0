"""What an answer is to look like, in everyone's words, and what it is in ours."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from beamhouse.schemas.beamhouse.generate import PrefixAllowedTokens
from beamhouse.schemas.beamhouse.response_format import ResponseFormat
from beamhouse.schemas.openai.chat import ChatRequest
from beamhouse.schemas.pydantic_problems import explain

READ = TypeAdapter[Any](ResponseFormat)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
OBJECT = PrefixAllowedTokens(json_schema={"type": "object"})
HELD = PrefixAllowedTokens(json_schema=SCHEMA)


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, OBJECT),
        ({"type": "json_object", "value": None}, OBJECT),
        ({"type": "json_object", "value": SCHEMA}, HELD),
        ({"type": "json_object", "schema": SCHEMA}, HELD),
        ({"type": "json", "value": SCHEMA}, HELD),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}, HELD),
        ({"type": "json_schema", "json_schema": {"name": "n", "description": "d", "strict": None}}, OBJECT),
        ({"type": "json_schema", "value": {"name": "n", "schema": SCHEMA}}, HELD),
        ({"type": "json_schema", "value": {"schema": SCHEMA}}, HELD),
        ({"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": False, "description": "d"}, HELD),
        ({"type": "regex", "value": "a+"}, PrefixAllowedTokens(regex="a+")),
    ],
)
def test_every_spelling_is_a_constraint(given: dict[str, Any], held: PrefixAllowedTokens | None) -> None:
    assert READ.validate_python(given).held() == held


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"type": "yaml"},
        {"type": ["text"]},
        "text",
        {"type": "text", "value": SCHEMA},
        {"type": "json"},
        {"type": "json_object", "value": SCHEMA, "schema": SCHEMA},
        {"type": "json_schema"},
        {"type": "json_schema", "name": "n"},
        {"type": "json_schema", "json_schema": {"schema": SCHEMA}, "value": {"schema": SCHEMA}},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "more": 1}},
        {"type": "regex"},
    ],
)
def test_what_is_none_of_them_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "yaml"}, ("response_format is of no kind", '"text", "json_object"')),
        ("json", ("response_format does not say of which kind it is", "an object with a type")),
    ],
)
def test_a_format_of_another_kind_is_told_those_there_are(given, words):
    body = {"messages": [{"role": "user", "content": "x"}], "response_format": given}
    with pytest.raises(ValidationError) as caught:
        ChatRequest.model_validate(body)
    ((path, (_, message)),) = explain(caught.value.errors(include_url=False), body, ChatRequest).items()
    assert path == ("response_format",)
    assert all(word in message for word in words)
