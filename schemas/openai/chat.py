"""The body of `POST /v1/chat/completions`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from beamhouse.schemas.beamhouse.body import Body
from beamhouse.schemas.beamhouse.conversation import Conversation, FunctionName
from beamhouse.schemas.beamhouse.generate import object_kind
from beamhouse.schemas.generation.bounds import AtLeastOne
from beamhouse.schemas.openai.sampling import NumTop, SamplingFields

ECHOED = frozenset({"refusal", "audio", "function_call", "annotations", "tool_calls", "reasoning_content"})
"""What clients send back of an answer, though it was empty."""


class NamedFunction(Body):
    """A function by its name."""

    name: FunctionName


class NamedTool(Body):
    """The one tool that is to be called."""

    type: Literal["function"]
    function: NamedFunction


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("name")] | Annotated[NamedTool, Tag("object")],
    Discriminator(object_kind),
]


class ChatRequest(SamplingFields, Conversation):
    """A conversation, and how the model is to go on with it."""

    not_supported: ClassVar[frozenset[str]] = SamplingFields.not_supported | {
        "echo",
        "functions",
        "function_call",
        "audio",
        "prediction",
        "web_search_options",
        "moderation",
        "chat_template",
    }

    max_completion_tokens: AtLeastOne | None = None
    """Most tokens of an answer. Not set: as many as there is room for."""
    max_tokens: AtLeastOne | None = None
    """The same by its older name."""
    logprobs: bool | None = None
    """Log-probability of each token of an answer."""
    top_logprobs: NumTop | None = None
    """So many of the likeliest tokens in the place of each; with `logprobs`."""
    tool_choice: ToolChoice | None = None
    """Whether a tool is called: the model decides (`auto`), none is, some is (`required`), or the one named."""
    parallel_tool_calls: bool | None = None
    """Whether an answer may hold several calls. Not set: true."""
    reasoning_effort: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    """For chat templates that read it."""
    include_reasoning: bool | None = None
    """Tell what the model thinks before it answers, as `reasoning_content`. Not set: true."""
    modalities: Annotated[list[Literal["text"]], Field(min_length=1, max_length=1)] | None = None
    """Answers are text."""
    verbosity: Literal["medium"] | None = None
    """How much the model says is its own affair."""

    @field_validator("messages", mode="before")
    @classmethod
    def drop_echoes(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return [
            {key: part for key, part in message.items() if part or key not in ECHOED}
            if isinstance(message, dict)
            else message
            for message in value
        ]
