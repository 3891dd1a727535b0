"""The tools that a model may call, and the calls it makes of them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

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

    def schema_of(self, parameter: str) -> Mapping[str, Any]:
        """The schema of one parameter; empty where nothing is said of it."""
        properties = (self.parameters or {}).get("properties", {})
        schema = properties.get(parameter, {}) if isinstance(properties, Mapping) else {}
        return schema if isinstance(schema, Mapping) else {}


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
