"""What conversations of OpenAI's protocol, and what stands beside them, become in our own request."""

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.conversation import Conversation, Message
from beamhouse.schemas.openai.chat import ChatRequest, NamedTool
from beamhouse.schemas.openai.responses import NamedFunction, ResponsesRequest
from beamhouse.schemas.openai.sampling import SamplingFields
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


def choice_of(body: ChatRequest | ResponsesRequest) -> ToolChoice:
    match body.tool_choice:
        case NamedTool() as given:
            return ToolChoice.of_one(given.function.name)
        case NamedFunction() as given:
            return ToolChoice.of_one(given.name)
        case word:
            return ToolChoice(word or "auto", is_parallel=body.parallel_tool_calls is not False)


def shows_special(body: SamplingFields) -> bool:
    """Whether the client wants to see special tokens, by either of the words for it."""
    within = None if body.outputs is None else body.outputs.skip_special_tokens
    return False in (body.skip_special_tokens, within)
