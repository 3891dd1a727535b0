"""What the input of `POST /v1/responses` is made of: messages, calls of tools and what they answered, thoughts."""

from typing import Annotated, Any, ClassVar, Literal, Never, NoReturn

from pydantic import Discriminator, Field, JsonValue, Tag
from pydantic.functional_validators import PlainValidator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.beamhouse.body import Body, tag_of, text_kind
from beamhouse.schemas.beamhouse.conversation import MAX_PARTS, CallId, FunctionName
from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ProblemCode

ITEM_KINDS = ("message", "function_call", "function_call_output", "reasoning")
MAX_ITEMS = 4096

ItemStatus = Literal["in_progress", "completed", "incomplete"]


def refuse(what: str, value: dict[str, Any]) -> NoReturn:
    message = f"not supported: {what} of type {value['type'][:MAX_SHOWN]}"
    raise PydanticCustomError(ProblemCode.NOT_SUPPORTED, "{message}", {"message": message})


def refuse_part(value: dict[str, Any]) -> NoReturn:
    refuse("a part", value)


def refuse_item(value: dict[str, Any]) -> NoReturn:
    refuse("an item", value)


def part_tag(value: object) -> str:
    return tag_of(("input_text", "output_text", "text"), value)


class InputText(Body):
    """A text that somebody wrote."""

    type: Literal["input_text", "text"]
    text: str


class OutputText(Body):
    """A text that the model wrote. annotations, logprobs: as they were told; nothing is made of them."""

    type: Literal["output_text"]
    text: str
    annotations: Annotated[list[JsonValue], Field(max_length=MAX_PARTS)] | None = None
    logprobs: list[JsonValue] | None = None


Part = Annotated[
    Annotated[InputText, Tag("kind:input_text")]
    | Annotated[InputText, Tag("kind:text")]
    | Annotated[OutputText, Tag("kind:output_text")]
    | Annotated[Never, PlainValidator(refuse_part, json_schema_input_type=dict[str, Any]), Tag("kind:other")],
    Discriminator(part_tag),
]
Texts = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[Part], Field(fail_fast=True, max_length=MAX_PARTS), Tag("texts")],
    Discriminator(text_kind),
]


class Item(Body):
    """What an item says of itself; nothing is kept here, so nothing is made of it."""

    id: str | None = Field(default=None, max_length=256)
    status: ItemStatus | None = None


class MessageItem(Item):
    """What somebody said."""

    type: Literal["message"] | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: Texts
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCallItem(Item):
    """A call that the model made."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"async", "caller", "namespace"})

    type: Literal["function_call"]
    call_id: CallId
    name: FunctionName
    arguments: str = Field(description="The JSON text of an object.")


class FunctionOutputItem(Item):
    """What the function answered."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"caller", "name", "namespace"})

    type: Literal["function_call_output"]
    call_id: CallId
    output: Texts


class SummaryText(Body):
    """A summary of thoughts."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(Body):
    """Thoughts."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(Item):
    """What the model thought. encrypted_content: nobody here can read it."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"encrypted_content"})

    type: Literal["reasoning"]
    summary: Annotated[list[SummaryText], Field(max_length=MAX_PARTS)] | None = None
    content: Annotated[list[ReasoningText], Field(max_length=MAX_PARTS)] | None = Field(
        default=None, description="The thoughts; without them their summary is shown to the model."
    )


AnyItem = Annotated[
    Annotated[MessageItem, Tag("kind:message")]
    | Annotated[FunctionCallItem, Tag("kind:function_call")]
    | Annotated[FunctionOutputItem, Tag("kind:function_call_output")]
    | Annotated[ReasoningItem, Tag("kind:reasoning")]
    | Annotated[Never, PlainValidator(refuse_item, json_schema_input_type=dict[str, Any]), Tag("kind:other")],
    Discriminator(lambda value: tag_of(ITEM_KINDS, value)),
]
Input = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[AnyItem], Field(fail_fast=True, min_length=1, max_length=MAX_ITEMS), Tag("texts")],
    Discriminator(text_kind),
]
