"""What a model's text is told as: pieces of text and of reasoning, and calls of tools with arguments in JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the text that is meant for the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegin:
    """A call begins. index: of the call among those of its sequence, from 0; call_id: for the answer of the tool."""

    index: int
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the JSON of a call's arguments, as the model wrote it."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnd:
    """Nothing more belongs to this call. Every call that begins ends, even where the text breaks off inside it."""

    index: int


Delta: TypeAlias = TextDelta | ReasoningDelta | CallBegin | CallArguments | CallEnd


@dataclass(frozen=True, slots=True)
class Call:
    """A whole call. arguments: JSON of an object, unless the model wrote it wrong or was cut off."""

    call_id: str
    name: str
    arguments: str

    @property
    def values(self) -> dict[str, Any] | None:
        """The arguments as an object; None where they are not the JSON of one."""
        try:
            read = json.loads(self.arguments)
        except (ValueError, RecursionError):
            return None
        return read if isinstance(read, dict) else None


@dataclass(frozen=True, slots=True)
class Turn:
    """All that a model said in its turn."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()


def joined(deltas: Iterable[Delta]) -> Turn:
    """What the deltas of one sequence come to."""
    text, reasoning, calls = "", "", list[Call]()
    for delta in deltas:
        match delta:
            case TextDelta():
                text += delta.text
            case ReasoningDelta():
                reasoning += delta.text
            case CallBegin():
                calls.append(Call(delta.call_id, delta.name, ""))
            case CallArguments():
                call = calls[delta.index]
                calls[delta.index] = Call(call.call_id, call.name, call.arguments + delta.text)
            case CallEnd():
                pass
    return Turn(text, reasoning, tuple(calls))
