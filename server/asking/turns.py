"""Turns of a conversation, as they are put together from what other protocols make them of: blocks, or items."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BETWEEN_THOUGHTS = "\n\n"


@dataclass(frozen=True, slots=True)
class Called:
    """A call of a tool. arguments: an object, or the JSON text of one. given: the path of what it was made from."""

    call_id: str
    name: str
    arguments: Mapping[str, Any] | str
    given: str


@dataclass(slots=True)
class Turn:
    """A message of ours. given: the dotted path of what it was made from. beside: further fields of the message."""

    role: str
    given: str
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    beside: dict[str, str] = field(default_factory=dict)

    def add(self, other: "Turn") -> None:
        """What else was said in this turn."""
        self.texts += other.texts
        self.thoughts += other.thoughts
        self.calls += other.calls

    def fields(self) -> dict[str, Any]:
        """As JSON of a message of ours. What has no text says an empty one, unless it calls or thinks."""
        said: dict[str, Any] = {"role": self.role, **self.beside}
        if len(self.texts) > 1:
            said["content"] = [{"type": "text", "text": text} for text in self.texts]
        elif self.texts or not (self.calls or self.thoughts):
            said["content"] = "".join(self.texts)
        if self.thoughts:
            said["reasoning_content"] = BETWEEN_THOUGHTS.join(self.thoughts)
        if self.calls:
            said["tool_calls"] = [
                {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.calls
            ]
        return said


def answer_turn(call_id: str, texts: list[str], given: str, before: Iterable[Turn]) -> Turn:
    """What a tool answered. before: the turns so far, in which its call stands and with it its name."""
    names = {call.call_id: call.name for turn in before for call in turn.calls}
    name = {"name": names[call_id]} if call_id in names else {}
    return Turn("tool", given, texts, beside={"tool_call_id": call_id, **name})


def message_names(turns: Sequence[Turn]) -> dict[str, str]:
    """Paths of what the client gave, by those of our messages."""
    names: dict[str, str] = {}
    for number, turn in enumerate(turns):
        names[f"messages.{number}"] = turn.given
        names |= {f"messages.{number}.tool_calls.{place}": call.given for place, call in enumerate(turn.calls)}
    return names
