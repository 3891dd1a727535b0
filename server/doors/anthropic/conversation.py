"""What a conversation of Anthropic's protocol is as one of ours: pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from beamhouse.schemas.anthropic.blocks import AnyTool, Message, TextBlock, Texts, ToolResultBlock, ToolUseBlock

FAILED = "Error: "
"""Before what a tool answered to a call that failed: chat templates have no other word for it."""

BETWEEN_THOUGHTS = "\n\n"


@dataclass(slots=True)
class Turn:
    """A message of ours. given: the dotted path of what it was made from; calls: of each call, in the same way."""

    role: str
    given: str
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: dict[str, ToolUseBlock] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)

    def goes_on_with(self, other: "Turn") -> bool:
        return self.role == other.role and not self.beside and not other.beside

    def add(self, other: "Turn") -> None:
        self.texts += other.texts
        self.thoughts += other.thoughts
        self.calls |= other.calls

    def fields(self) -> dict[str, Any]:
        """As a message of ours. What has no text says an empty one, unless it calls or thinks."""
        said: dict[str, Any] = {"role": self.role, **self.beside}
        if len(self.texts) > 1:
            said["content"] = [{"type": "text", "text": text} for text in self.texts]
        elif self.texts or not (self.calls or self.thoughts):
            said["content"] = "".join(self.texts)
        if self.thoughts:
            said["reasoning_content"] = BETWEEN_THOUGHTS.join(self.thoughts)
        if self.calls:
            said["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.input}}
                for call in self.calls.values()
            ]
        return said


def conversation_of(system: Texts | None, messages: Sequence[Message]) -> list[Turn]:
    """The system's text first; turns of one role that follow each other are one, as the API has it."""
    turns = [Turn("system", "system", texts_of(system))] if system else []
    called: dict[str, str] = {}
    for index, message in enumerate(messages):
        for turn in parted(message, f"messages.{index}", called):
            if turns and turns[-1].goes_on_with(turn):
                turns[-1].add(turn)
            else:
                turns.append(turn)
    return turns


def parted(message: Message, path: str, called: dict[str, str]) -> Iterator[Turn]:
    """A turn, and one for each answer of a tool in it. called: tools by the ids of the calls so far."""
    turn = Turn(message.role, path)
    if isinstance(message.content, str):
        turn.texts.append(message.content)
        yield turn
        return
    for index, block in enumerate(message.content):
        if isinstance(block, ToolResultBlock):
            if turn.texts:
                yield turn
                turn = Turn(message.role, path)
            yield answer_of(block, f"{path}.content.{index}", called)
        elif isinstance(block, ToolUseBlock):
            turn.calls[f"{path}.content.{index}"] = block
            called[block.id] = block.name
        elif isinstance(block, TextBlock):
            turn.texts.append(block.text)
        else:
            turn.thoughts.append(block.thinking)
    if turn.texts or turn.calls or turn.thoughts or not message.content:
        yield turn


def answer_of(block: ToolResultBlock, path: str, called: dict[str, str]) -> Turn:
    texts = texts_of(block.content)
    if block.is_error:
        texts[:1] = [FAILED + "".join(texts[:1])]
    name = called.get(block.tool_use_id)
    return Turn("tool", path, texts, beside={"tool_call_id": block.tool_use_id} | ({"name": name} if name else {}))


def texts_of(given: Texts | None) -> list[str]:
    if given is None or isinstance(given, str):
        return [given] if given else []
    return [block.text for block in given]


def message_names(turns: Sequence[Turn]) -> dict[str, str]:
    """Paths of what the client gave, by those of our messages."""
    names: dict[str, str] = {}
    for number, turn in enumerate(turns):
        names[f"messages.{number}"] = turn.given
        names |= {f"messages.{number}.tool_calls.{place}": given for place, given in enumerate(turn.calls)}
    return names


def tools_of(tools: Sequence[AnyTool]) -> list[dict[str, Any]]:
    """Our tools."""
    made = []
    for tool in tools:
        function: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            function["description"] = tool.description
        function["parameters"] = tool.input_schema
        if tool.strict is not None:
            function["strict"] = tool.strict
        made.append({"type": "function", "function": function})
    return made


def tool_names(number: int) -> dict[str, str]:
    """Paths of what the client gave, by those of our tools."""
    renamed = {"function.parameters": "input_schema", "function": ""}
    return {
        f"tools.{index}.{own}": f"tools.{index}.{given}".removesuffix(".")
        for index in range(number)
        for own, given in renamed.items()
    }
