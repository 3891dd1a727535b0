"""What the messages of a body, and what stands beside them, become in our own request."""

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.conversation import Conversation, Message
from beamhouse.schemas.openai.chat import ChatRequest, NamedTool
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.expected_turn import Expected
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.asking.turns import put_variable
from beamhouse.server.conversation.tools import ToolChoice
from beamhouse.server.service import Model


def gather_conversation(asked: Gathering, body: ChatRequest, model: Model) -> None:
    """The conversation. Raises InvalidRequest."""
    if body.messages is None:
        raise invalid("messages", ProblemCode.MISSING, "messages is missing")
    for name in Conversation.model_fields:
        asked.put(name, getattr(body, name), name)
    asked.settle("messages", known_roles(body.messages, model.info.chat_template), "messages")
    if body.reasoning_effort is not None:
        put_variable(asked, "reasoning_effort", body.reasoning_effort, "reasoning_effort")


def known_roles(messages: list[Message], template: str | None) -> list[Message]:
    """A developer is the system to a template that knows none."""
    if knows_developers(template):
        return messages
    return [
        message.model_copy(update={"role": "system"}) if message.role == "developer" else message
        for message in messages
    ]


def knows_developers(template: str | None) -> bool:
    return "developer" in (template or "")


def expected_of(body: ChatRequest) -> Expected:
    """What is expected of the turn."""
    return Expected(body.tools or [], choice_of(body), body.response_format)


def choice_of(body: ChatRequest) -> ToolChoice:
    if isinstance(body.tool_choice, NamedTool):
        return ToolChoice.of_one(body.tool_choice.function.name)
    return ToolChoice(body.tool_choice or "auto", is_parallel=body.parallel_tool_calls is not False)
