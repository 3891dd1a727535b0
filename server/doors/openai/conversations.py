"""What the messages of a body, and what stands beside them, become in our own request."""

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.conversation import Conversation, Message
from beamhouse.schemas.openai.chat import ChatRequest, NamedTool
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.expected_turn import Expected
from beamhouse.server.asking.gathering import Gathering
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
        place = "chat_template_kwargs"
        variables = {"reasoning_effort": body.reasoning_effort} | (body.chat_template_kwargs or {})
        if variables["reasoning_effort"] != body.reasoning_effort:
            message = "reasoning_effort and chat_template_kwargs.reasoning_effort differ; give one of them"
            raise invalid("reasoning_effort", ProblemCode.CONFLICT, message)
        asked.settle(place, variables, place)
        asked.given_names[f"{place}.reasoning_effort"] = "reasoning_effort"


def known_roles(messages: list[Message], template: str | None) -> list[Message]:
    """A developer is the system to a template that knows none."""
    if "developer" in (template or ""):
        return messages
    return [
        message.model_copy(update={"role": "system"}) if message.role == "developer" else message
        for message in messages
    ]


def expected_of(body: ChatRequest) -> Expected:
    """What is expected of the turn."""
    return Expected(body.tools or [], choice_of(body), body.response_format)


def choice_of(body: ChatRequest) -> ToolChoice:
    if isinstance(body.tool_choice, NamedTool):
        return ToolChoice.of_one(body.tool_choice.function.name)
    return ToolChoice(body.tool_choice or "auto", is_parallel=body.parallel_tool_calls is not False)
