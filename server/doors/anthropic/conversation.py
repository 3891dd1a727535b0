"""What a conversation of Anthropic's protocol is as one of ours: pure functions."""

from collections.abc import Iterator, Sequence

from beamhouse.schemas.anthropic.blocks import AnyTool, Message, TextBlock, Texts, ToolResultBlock, ToolUseBlock
from beamhouse.schemas.beamhouse.conversation import Tool as OfferedTool
from beamhouse.server.asking.turns import Called, Turn, answer_turn, offered_tool

FAILED = "Error: "
"""Before what a tool answered to a call that failed: chat templates have no other word for it."""


def conversation_of(system: Texts | None, messages: Sequence[Message]) -> list[Turn]:
    """The system's text first; turns of one role that follow each other are one, as the API has it."""
    turns = [Turn("system", "system", texts_of(system))] if system else []
    for index, message in enumerate(messages):
        for turn in parted(message, f"messages.{index}", turns):
            if turns and turns[-1].role == turn.role != "tool":
                turns[-1].add(turn)
            else:
                turns.append(turn)
    return turns


def parted(message: Message, path: str, before: Sequence[Turn]) -> Iterator[Turn]:
    """A turn, and one for each answer of a tool in it. before: all turns so far."""
    turn = Turn(message.role, path)
    if isinstance(message.content, str):
        turn.texts.append(message.content)
        yield turn
        return
    for index, block in enumerate(message.content):
        place = f"{path}.content.{index}"
        if isinstance(block, ToolResultBlock):
            if turn.texts:
                yield turn
                turn = Turn(message.role, path)
            yield answer_turn(block.tool_use_id, result_of(block), place, before)
        elif isinstance(block, ToolUseBlock):
            turn.calls.append(Called(block.id, block.name, block.input, place))
        elif isinstance(block, TextBlock):
            turn.texts.append(block.text)
        else:
            turn.thoughts.append(block.thinking)
    if turn.texts or turn.calls or turn.thoughts or not message.content:
        yield turn


def result_of(block: ToolResultBlock) -> list[str]:
    texts = texts_of(block.content)
    return [FAILED + "".join(texts[:1]), *texts[1:]] if block.is_error else texts


def texts_of(given: Texts | None) -> list[str]:
    if given is None or isinstance(given, str):
        return [given] if given else []
    return [block.text for block in given]


def tools_of(tools: Sequence[AnyTool]) -> list[OfferedTool]:
    """Our tools."""
    return [offered_tool(tool.name, tool.description, tool.input_schema, tool.strict) for tool in tools]


def tool_names(number: int) -> dict[str, str]:
    """Paths of what the client gave, by those of our tools."""
    renamed = {"function.parameters": "input_schema", "function": ""}
    return {
        f"tools.{index}.{own}": f"tools.{index}.{given}".removesuffix(".")
        for index in range(number)
        for own, given in renamed.items()
    }
