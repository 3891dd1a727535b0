"""What a conversation of Anthropic's protocol is made of: messages, blocks, tools."""

from typing import Annotated, Any, ClassVar, Literal, Never, NoReturn, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic.functional_validators import PlainValidator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.beamhouse.body import Body, tag_of, text_kind
from beamhouse.schemas.beamhouse.conversation import MAX_PARTS, CallId, FunctionName
from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ProblemCode

BLOCK_KINDS = ("text", "tool_use", "tool_result", "thinking")
ROLE_BLOCKS = {"user": ("text", "tool_result"), "assistant": ("text", "tool_use", "thinking"), "system": ("text",)}


class CacheControl(Body):
    """Changes nothing: all prompts share what they begin with, for as long as there is room."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Cached(Body):
    """What a client may mark as the end of what it will send again."""

    cache_control: CacheControl | None = None


class TextBlock(Cached):
    """A text. citations: those of another server are refused."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"citations"})

    type: Literal["text"]
    text: str


class DirectCaller(Body):
    """The model itself."""

    type: Literal["direct"]


class ToolUseBlock(Cached):
    """A call that the assistant made."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"toolset_name"})

    type: Literal["tool_use"]
    id: CallId
    name: FunctionName
    input: dict[str, Any]
    caller: DirectCaller | None = None


class ThinkingBlock(Body):
    """What the assistant thought. signature: whatever it says, since nothing here is told by it."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


def refuse_block(value: dict[str, Any]) -> NoReturn:
    message = f"not supported: a block of type {value['type'][:MAX_SHOWN]}; this model reads and writes text"
    raise PydanticCustomError(ProblemCode.NOT_SUPPORTED, "{message}", {"message": message})


def refuse_tool(value: dict[str, Any]) -> NoReturn:
    message = f"not supported: a tool of type {value['type'][:MAX_SHOWN]}; give tools of your own, with input_schema"
    raise PydanticCustomError(ProblemCode.NOT_SUPPORTED, "{message}", {"message": message})


OtherBlock = Annotated[Never, PlainValidator(refuse_block, json_schema_input_type=dict[str, Any]), Tag("kind:other")]
OnlyText = Annotated[
    Annotated[TextBlock, Tag("kind:text")] | OtherBlock,
    Discriminator(lambda value: tag_of(("text",), value)),
]
Texts = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[OnlyText], Field(fail_fast=True, max_length=MAX_PARTS), Tag("texts")],
    Discriminator(text_kind),
]


class ToolResultBlock(Cached):
    """What a tool answered."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"toolset_name"})

    type: Literal["tool_result"]
    tool_use_id: CallId
    content: Texts | None = None
    is_error: bool | None = Field(
        default=None,
        description="The call failed. Chat templates have no word for it: the text gets `Error: ` before it.",
    )


Block = Annotated[
    Annotated[TextBlock, Tag("kind:text")]
    | Annotated[ToolUseBlock, Tag("kind:tool_use")]
    | Annotated[ToolResultBlock, Tag("kind:tool_result")]
    | Annotated[ThinkingBlock, Tag("kind:thinking")]
    | OtherBlock,
    Discriminator(lambda value: tag_of(BLOCK_KINDS, value)),
]
Content = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[Block], Field(fail_fast=True, max_length=MAX_PARTS), Tag("texts")],
    Discriminator(text_kind),
]


class Message(Body):
    """One turn, or a part of one: turns of the same role that follow each other are one."""

    role: Literal["user", "assistant", "system"]
    content: Content

    @model_validator(mode="after")
    def check_blocks(self) -> Self:
        allowed = ROLE_BLOCKS[self.role]
        for block in self.content if isinstance(self.content, list) else ():
            if block.type not in allowed:
                message = f"content of the role {self.role} holds {block.type}; allowed: {', '.join(allowed)}"
                raise PydanticCustomError(ProblemCode.CONFLICT, "{message}", {"message": message})
        return self


class Tool(Cached):
    """A function of the client's that the model may call."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"input_examples"})

    type: Literal["custom"] | None = None
    name: FunctionName
    description: str | None = None
    input_schema: dict[str, Any] = Field(description="The JSON schema of its input.")
    strict: bool | None = Field(default=None, description="Hold what the model writes to the schema.")
    eager_input_streaming: Literal[True] | None = Field(
        default=None, description="Inputs are streamed as they are written, always."
    )
    defer_loading: Literal[False] | None = None
    allowed_callers: Annotated[list[Literal["direct"]], Field(max_length=1)] | None = None


AnyTool = Annotated[
    Annotated[Tool, Tag("kind:custom")]
    | Annotated[Never, PlainValidator(refuse_tool, json_schema_input_type=dict[str, Any]), Tag("kind:other")],
    Discriminator(lambda value: tag_of(("custom",), value)),
]


class FreeChoice(Body):
    """Whether to call a tool is up to the model (`auto`), or it has to (`any`)."""

    type: Literal["auto", "any"]
    disable_parallel_tool_use: bool | None = Field(default=None, description="At most one call.")


class NamedChoice(Body):
    """This tool is called."""

    type: Literal["tool"]
    name: FunctionName
    disable_parallel_tool_use: bool | None = Field(default=None, description="At most one call.")


class NoChoice(Body):
    """No tool is called."""

    type: Literal["none"]


ToolChoice = Annotated[FreeChoice | NamedChoice | NoChoice, Field(discriminator="type")]


class ThinkingOn(Body):
    """Think before the answer."""

    type: Literal["enabled"]
    budget_tokens: Annotated[int, Field(ge=1024, description="How long to think, for templates that tell the model.")]
    display: Literal["summarized"] | None = Field(default=None, description="Thoughts are told as they are.")


class ThinkingAdaptive(Body):
    """Think as the model does by itself."""

    type: Literal["adaptive"]
    display: Literal["summarized"] | None = Field(default=None, description="Thoughts are told as they are.")


class ThinkingOff(Body):
    """Answer without thinking."""

    type: Literal["disabled"]


ThinkingConfig = Annotated[ThinkingOn | ThinkingAdaptive | ThinkingOff, Field(discriminator="type")]


class OutputFormat(Body):
    """The text is JSON of this schema."""

    type: Literal["json_schema"]
    json_schema: dict[str, Any] = Field(alias="schema")


class OutputConfig(Body):
    """How the answer is to be."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = Field(
        default=None, description="For chat templates that read `reasoning_effort`."
    )
    format: OutputFormat | None = None
