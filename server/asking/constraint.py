"""What a text must follow, as bodies of other protocols say it in several ways."""

from typing import Any

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.gathering import Gathering

CONSTRAINT = "prefix_allowed_tokens"


def constrain(asked: Gathering, fields: dict[str, Any] | None, name: str) -> None:
    """fields: of `prefix_allowed_tokens`, told of as the client's field `name`; None says nothing.

    Raises InvalidRequest where another field of the client's says it already.
    """
    if fields is None:
        return
    if CONSTRAINT in asked.values:
        message = f"{name} and {asked.given_names[CONSTRAINT]} both say what the text must follow; give one of them"
        raise invalid(name, ProblemCode.CONFLICT, message)
    asked.put(CONSTRAINT, fields, name)
    asked.given_names |= {f"{CONSTRAINT}.{kind}": name for kind in fields}
