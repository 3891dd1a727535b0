"""Turns of a conversation, as they are put together from what other protocols make them of: blocks, or items."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.conversation import Tool
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.gathering import Gathering

BETWEEN_THOUGHTS = "\n\n"
VARIABLES = "chat_template_kwargs"


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


def offered_tool(name: str, description: str | None, parameters: dict[str, Any] | None, strict: bool | None) -> Tool:
    """A tool of ours."""
    given = {"name": name, "description": description, "parameters": parameters, "strict": strict}
    stated = {key: value for key, value in given.items() if value is not None}
    return Tool.model_validate({"type": "function", "function": stated})


def gather_turns(asked: Gathering, turns: Sequence[Turn], name: str) -> None:
    """The conversation; an answer that the client has begun goes on. name: of the field that it stands in.

    Raises InvalidRequest.
    """
    asked.put("messages", [turn.fields() for turn in turns], name)
    asked.given_names |= message_names(turns)
    if turns[-1].role == "assistant":
        asked.put("continue_final_message", True, turns[-1].given)


def message_names(turns: Sequence[Turn]) -> dict[str, str]:
    """Paths of what the client gave, by those of our messages."""
    names: dict[str, str] = {}
    for number, turn in enumerate(turns):
        names[f"messages.{number}"] = turn.given
        names |= {f"messages.{number}.tool_calls.{place}": call.given for place, call in enumerate(turn.calls)}
    return names


def put_variable(asked: Gathering, variable: str, value: object, name: str) -> None:
    """A variable of the chat template. Raises InvalidRequest where the client has set it to something else."""
    variables: dict[str, Any] = asked.get(VARIABLES) or {}
    if variables.get(variable, value) != value:
        message = f"{name} and {VARIABLES}.{variable} differ; give one of them"
        raise invalid(name, ProblemCode.CONFLICT, message)
    asked.settle(VARIABLES, {**variables, variable: value}, VARIABLES)
    asked.given_names[f"{VARIABLES}.{variable}"] = name
