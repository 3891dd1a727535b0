"""What the input of `POST /v1/responses` is as messages of ours: pure functions."""

from collections.abc import Sequence

from beamhouse.schemas.openai.response_items import (
    AnyItem,
    FunctionCallItem,
    FunctionOutputItem,
    Input,
    MessageItem,
    Texts,
)
from beamhouse.server.asking.turns import Called, Turn, answer_turn

MERGED = ("assistant", "system")
"""What the model thought, said and called, one after another, is one turn; so is what the system says."""


def conversation_of(instructions: str | None, given: Input, has_developers: bool = True) -> list[Turn]:
    """The instructions first. has_developers: whether they are somebody else than the system."""
    turns = [Turn("system", "instructions", [instructions])] if instructions else []
    if isinstance(given, str):
        return [*turns, Turn("user", "input", [given])]
    for index, item in enumerate(given):
        turn = turn_of(item, f"input.{index}", turns)
        if turn.role == "developer" and not has_developers:
            turn.role = "system"
        if turns and turns[-1].role == turn.role and turn.role in MERGED:
            turns[-1].add(turn)
        else:
            turns.append(turn)
    return turns


def turn_of(item: AnyItem, path: str, before: Sequence[Turn]) -> Turn:
    match item:
        case MessageItem():
            return Turn(item.role, path, texts_of(item.content))
        case FunctionCallItem():
            return Turn("assistant", path, calls=[Called(item.call_id, item.name, item.arguments, path)])
        case FunctionOutputItem():
            return answer_turn(item.call_id, texts_of(item.output), path, before)
        case _:
            return Turn("assistant", path, thoughts=[part.text for part in item.content or item.summary or ()])


def texts_of(given: Texts) -> list[str]:
    return [given] if isinstance(given, str) else [part.text for part in given]
