"""What the text of a choice must follow, in each of the spellings that clients send."""

import re
from typing import Any

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.openai.sampling import SamplingFields, StructuredOutputs
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.edge.errors import Refused
from beamhouse.server.edge.strict_json import parse_json

CONSTRAINT = "prefix_allowed_tokens"
ANY_OBJECT = {"type": "object"}


def gather_constraint(asked: Gathering, body: SamplingFields) -> None:
    """At most one field may say it. Raises InvalidRequest."""
    constrain(asked, "token_ids", body.allowed_token_ids, "allowed_token_ids")
    constrain(asked, "json_schema", schema_of(body.guided_json, "guided_json"), "guided_json")
    constrain(asked, "regex", body.guided_regex, "guided_regex")
    constrain(asked, "regex", one_of(body.guided_choice), "guided_choice")
    constrain(asked, "grammar", body.guided_grammar, "guided_grammar")
    if body.structured_outputs is not None:
        gather_structured(asked, body.structured_outputs)


def gather_structured(asked: Gathering, given: StructuredOutputs) -> None:
    start = "structured_outputs"
    constrain(asked, "json_schema", schema_of(given.json_schema, f"{start}.json"), f"{start}.json")
    constrain(asked, "json_schema", ANY_OBJECT if given.json_object else None, f"{start}.json_object")
    constrain(asked, "regex", given.regex, f"{start}.regex")
    constrain(asked, "regex", one_of(given.choice), f"{start}.choice")
    constrain(asked, "grammar", given.grammar, f"{start}.grammar")


def constrain(asked: Gathering, kind: str, value: Any, name: str) -> None:
    """kind: a field of `prefix_allowed_tokens`, told of as the client's field `name`; None for a value says nothing."""
    if value is None:
        return
    if CONSTRAINT in asked.values:
        message = f"{name} and {asked.given_names[CONSTRAINT]} both say what the text must follow; give one of them"
        raise invalid(name, ProblemCode.CONFLICT, message)
    asked.put(CONSTRAINT, {kind: value}, name)
    asked.given_names[f"{CONSTRAINT}.{kind}"] = name


def schema_of(given: dict[str, Any] | str | None, name: str) -> dict[str, Any] | None:
    """A schema that may have been sent as JSON text. Raises InvalidRequest."""
    if not isinstance(given, str):
        return given
    try:
        schema = parse_json(given.encode())
    except Refused as error:
        raise invalid(name, ProblemCode.INVALID, f"{name} is no JSON: {error.detail}") from None
    if not isinstance(schema, dict):
        raise invalid(name, ProblemCode.WRONG_TYPE, f"{name} holds no object; a JSON schema is one")
    return schema


def one_of(choices: list[str] | None) -> str | None:
    """An expression for exactly these texts."""
    return None if choices is None else "|".join(map(re.escape, choices))
