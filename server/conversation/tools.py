"""The tools that a model may call, and the calls it makes of them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from beamhouse.schemas.beamhouse.conversation import Tool as ToolBody
from beamhouse.server.conversation.deltas import CallArguments, CallBegin, CallEnd
from beamhouse.server.conversation.source import Malformed

CallId: TypeAlias = Callable[[int], str]
"""The id of a call, by its index among those of its sequence."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that was offered. parameters: JSON schema of its arguments, an object; None: anything.

    is_strict: hold the arguments to the schema, also where the model is free to call or not.
    """

    name: str
    parameters: Mapping[str, Any] | None = None
    is_strict: bool = False

    @classmethod
    def of(cls, given: ToolBody) -> "Tool":
        """As a request offers it."""
        function = given.function
        return cls(function.name, function.parameters, bool(function.strict))

    @property
    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        """The schemas of its parameters by name, in their order; empty ones where nothing is said of them."""
        return properties_of(self.parameters or {})


def properties_of(schema: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The properties in the schema of an object; what is no schema says nothing."""
    properties = schema.get("properties")
    given = properties if isinstance(properties, Mapping) else {}
    return {name: inner if isinstance(inner, Mapping) else {} for name, inner in given.items()}


class Calls:
    """The calls of one sequence, told as they are read, one at a time."""

    def __init__(self, tools: Mapping[str, Tool], call_id: CallId) -> None:
        self._tools = tools
        self._call_id = call_id
        self._num = 0

    def known(self, name: str) -> Tool:
        """The tool of that name. Raises Malformed: what calls a function that was not offered is text."""
        if name not in self._tools:
            raise Malformed
        return self._tools[name]

    def begin(self, name: str) -> CallBegin:
        self._num += 1
        return CallBegin(self._num - 1, self._call_id(self._num - 1), name)

    def arguments(self, text: str) -> CallArguments:
        return CallArguments(self._num - 1, text)

    def end(self) -> CallEnd:
        return CallEnd(self._num - 1)


def call_ids(seed: str, length: int | None = None) -> CallId:
    """Ids that follow from `seed`, which names the sequence. length: so many letters and digits, as Mistral's templates
    want them; None: `call_` and 24 digits of a hash."""

    def call_id(index: int) -> str:
        digest = hashlib.sha256(f"{seed}:{index}".encode()).hexdigest()
        return f"call_{digest[:24]}" if length is None else digest[:length]

    return call_id
