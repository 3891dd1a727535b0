"""The tools that a model may call, and the calls it makes of them."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.conversation import Tool as OfferedTool
from beamhouse.schemas.words import ProblemCode
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
    def of(cls, given: OfferedTool) -> "Tool":
        """As a request offers it."""
        function = given.function
        return cls(function.name, function.parameters, bool(function.strict))

    @property
    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        """The schemas of its parameters by name, in their order; empty ones where nothing is said of them."""
        return properties_of(self.parameters or {})


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether tools are called, and which. names: of those that may be; empty: all that are offered.

    is_parallel: a turn may hold several calls.
    """

    kind: Literal["none", "auto", "required"] = "auto"
    names: tuple[str, ...] = ()
    is_parallel: bool = True

    @classmethod
    def of_one(cls, name: str) -> "ToolChoice":
        """Exactly one call, of this tool."""
        return cls("required", (name,), is_parallel=False)

    def allowed(self, tools: Sequence[Tool]) -> list[Tool]:
        """Those of the offered tools that may be called. Raises InvalidRequest naming `tool_choice`."""
        offered = {tool.name: tool for tool in tools}
        for name in self.names:
            if name not in offered:
                raise invalid("tool_choice", ProblemCode.UNKNOWN_NAME, f"{name} is not among the tools of the request")
        if self.kind == "required" and not offered:
            raise invalid("tool_choice", ProblemCode.MISSING, "a call is required, and the request offers no tools")
        return [] if self.kind == "none" else [offered[name] for name in self.names or offered]


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
