"""What a text must follow, as bodies of other protocols say it in several ways."""

from typing import Any

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.generate import PrefixAllowedTokens
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.edge.errors import Refused
from beamhouse.server.edge.strict_json import parse_inner

CONSTRAINT = "prefix_allowed_tokens"


def constrain(asked: Gathering, kind: str, value: Any, name: str) -> None:
    """kind: a field of `prefix_allowed_tokens`, told of as the client's field `name`; None for a value says nothing.

    Raises InvalidRequest where another field of the client's says it already.
    """
    if value is not None:
        hold(asked, {kind: value}, name, name)


def hold_to(asked: Gathering, allowed: PrefixAllowedTokens | None, name: str, told: str = "") -> None:
    """As `constrain`, to all of it; None holds to nothing. told: the client's field that says to what, if another."""
    if allowed is not None:
        hold(asked, allowed.model_dump(exclude_none=True), name, told or name)


def hold(asked: Gathering, fields: dict[str, Any], name: str, told: str) -> None:
    if CONSTRAINT in asked.values:
        message = f"{name} and {asked.given_names[CONSTRAINT]} both say what the text must follow; give one of them"
        raise invalid(name, ProblemCode.CONFLICT, message)
    asked.put(CONSTRAINT, fields, name)
    asked.given_names |= {f"{CONSTRAINT}.{kind}": told for kind in fields}


def schema_of(given: dict[str, Any] | str | None, name: str) -> dict[str, Any] | None:
    """A schema that may have been sent as JSON text. Raises InvalidRequest."""
    if not isinstance(given, str):
        return given
    try:
        schema = parse_inner(given, name)
    except Refused as error:
        raise invalid(name, ProblemCode.INVALID, error.detail) from None
    if not isinstance(schema, dict):
        raise invalid(name, ProblemCode.WRONG_TYPE, f"{name} holds no object; a JSON schema is one")
    return schema
