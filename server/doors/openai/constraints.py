"""What the text of a choice must follow, in each of the spellings that clients send."""

import re
from typing import Any

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.response_format import ANY_OBJECT
from beamhouse.schemas.openai.sampling import SamplingFields, StructuredOutputs
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.constraint import constrain
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.edge.errors import Refused
from beamhouse.server.edge.strict_json import parse_json


def gather_constraint(asked: Gathering, body: SamplingFields) -> None:
    """At most one field may say it. Raises InvalidRequest."""
    constrain(asked, of("token_ids", body.allowed_token_ids), "allowed_token_ids")
    constrain(asked, schema_of(body.guided_json, "guided_json"), "guided_json")
    constrain(asked, of("regex", body.guided_regex), "guided_regex")
    constrain(asked, of("regex", one_of(body.guided_choice)), "guided_choice")
    constrain(asked, of("grammar", body.guided_grammar), "guided_grammar")
    if body.structured_outputs is not None:
        gather_structured(asked, body.structured_outputs)


def gather_structured(asked: Gathering, given: StructuredOutputs) -> None:
    start = "structured_outputs"
    constrain(asked, schema_of(given.json_schema, f"{start}.json"), f"{start}.json")
    constrain(asked, of("json_schema", ANY_OBJECT if given.json_object else None), f"{start}.json_object")
    constrain(asked, of("regex", given.regex), f"{start}.regex")
    constrain(asked, of("regex", one_of(given.choice)), f"{start}.choice")
    constrain(asked, of("grammar", given.grammar), f"{start}.grammar")


def of(kind: str, value: Any) -> dict[str, Any] | None:
    """A constraint of that kind; None without a value."""
    return None if value is None else {kind: value}


def schema_of(given: dict[str, Any] | str | None, name: str) -> dict[str, Any] | None:
    """The constraint to a schema that may have been sent as JSON text. Raises InvalidRequest."""
    if not isinstance(given, str):
        return of("json_schema", given)
    try:
        schema = parse_json(given.encode())
    except Refused as error:
        raise invalid(name, ProblemCode.INVALID, f"{name} is no JSON: {error.detail}") from None
    if not isinstance(schema, dict):
        raise invalid(name, ProblemCode.WRONG_TYPE, f"{name} holds no object; a JSON schema is one")
    return of("json_schema", schema)


def one_of(choices: list[str] | None) -> str | None:
    """An expression for exactly these texts."""
    return None if choices is None else "|".join(map(re.escape, choices))
