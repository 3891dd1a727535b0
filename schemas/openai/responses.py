"""The body of `POST /v1/responses`."""

from typing import Annotated, Any, ClassVar, Literal, Never

from pydantic import Discriminator, Field, JsonValue, Tag
from pydantic.functional_validators import PlainValidator

from beamhouse.schemas.beamhouse.body import Body, tag_of
from beamhouse.schemas.beamhouse.conversation import MAX_TOOLS, FunctionName
from beamhouse.schemas.beamhouse.generate import object_kind
from beamhouse.schemas.beamhouse.response_format import ResponseFormat
from beamhouse.schemas.generation.bounds import AtLeastOne
from beamhouse.schemas.openai.response_items import Input, refuse
from beamhouse.schemas.openai.sampling import NumTop, SamplingFields


def refuse_tool(value: dict[str, Any]) -> Never:
    refuse("a tool", value)


class FunctionTool(Body):
    """A function of the client's that the model may call."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"async", "output_schema"})

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="The JSON schema of its arguments.")
    strict: bool | None = Field(default=None, description="Hold the arguments to the schema. Not set: false.")
    defer_loading: Literal[False] | None = None
    allowed_callers: Annotated[list[Literal["direct"]], Field(max_length=1)] | None = None


AnyTool = Annotated[
    Annotated[FunctionTool, Tag("kind:function")]
    | Annotated[Never, PlainValidator(refuse_tool, json_schema_input_type=dict[str, Any]), Tag("kind:other")],
    Discriminator(lambda value: tag_of(("function",), value)),
]


class NamedFunction(Body):
    """The one function that is to be called."""

    type: Literal["function"]
    name: FunctionName


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("name")] | Annotated[NamedFunction, Tag("object")],
    Discriminator(object_kind),
]


class Reasoning(Body):
    """How to think."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"generate_summary"})

    effort: Annotated[str, Field(min_length=1, max_length=32)] | None = Field(
        default=None, description="For chat templates that read `reasoning_effort`."
    )
    summary: Literal["auto"] | None = Field(default=None, description="Thoughts are told as they are.")


class TextConfig(Body):
    """How the answer looks."""

    format: ResponseFormat | None = None
    verbosity: Literal["medium"] | None = Field(default=None, description="How much the model says is its own affair.")


class ResponsesRequest(SamplingFields):
    """A conversation, and how the model is to go on with it. Nothing is stored, so each request holds all of it."""

    not_supported: ClassVar[frozenset[str]] = SamplingFields.not_supported | {
        "access_programs",
        "background_options",
        "context_management",
        "conversation",
        "image",
        "moderation",
        "previous_response_id",
        "prompt",
        "prompt_cache_options",
    }

    input: Input
    """A text of the user's, or items: messages, calls of functions and what they answered, thoughts."""
    instructions: str | None = None
    """A system message before all others."""
    max_output_tokens: AtLeastOne | None = None
    """Most tokens of the answer. Not set: as many as there is room for."""
    tools: Annotated[list[AnyTool], Field(max_length=MAX_TOOLS)] | None = None
    """What the model may call."""
    tool_choice: ToolChoice | None = None
    """Whether a function is called: the model decides (`auto`), none is, some is (`required`), or the one named."""
    parallel_tool_calls: bool | None = None
    """Whether an answer may hold several calls. Not set: true."""
    max_tool_calls: AtLeastOne | None = None
    """Most calls of tools that run on the server; there are none."""
    reasoning: Reasoning | None = None
    """How to think."""
    text: TextConfig | None = None
    """How the answer looks."""
    include: Annotated[list[Literal["message.output_text.logprobs"]], Field(max_length=8)] | None = None
    """What is told beside the text: log-probabilities of its tokens."""
    top_logprobs: NumTop | None = None
    """So many of the likeliest tokens in the place of each; asks for log-probabilities too."""
    truncation: Literal["disabled"] | None = None
    """A conversation that is too long is refused."""
    background: Literal[False] | None = None
    """Answers are waited for."""
    prompt_cache_retention: Literal["in_memory"] | None = None
    """Prompts are kept for as long as there is room, in memory."""
    chat_template_kwargs: dict[str, JsonValue] | None = None
    """Further variables that the chat template reads."""

    @property
    def wants_logprobs(self) -> bool:
        """Whether the answer tells log-probabilities of its text; there is nothing else to include."""
        return bool(self.include or self.top_logprobs)
