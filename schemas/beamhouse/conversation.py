"""A conversation, and what the model's chat template makes a prompt of beside it."""

import json
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import Discriminator, Field, ModelWrapValidatorHandler, PrivateAttr, Tag, model_validator
from pydantic.functional_validators import BeforeValidator, PlainValidator
from pydantic_core import PydanticCustomError, from_json

from beamhouse.schemas.beamhouse.body import Body, text_kind
from beamhouse.schemas.generation.bounds import MAX_NAME_CHARS
from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ProblemCode

MAX_MESSAGES = 1024
MAX_PARTS = 1024
MAX_CALLS = 128
MAX_TOOLS = 1024
MAX_REASON = 120

FunctionName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
CallId = Annotated[str, Field(max_length=MAX_NAME_CHARS)]


class AsGiven(Body):
    """What templates may write down whole, so that they get it as it was given, in the order of its keys."""

    _keys: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def remember_order(cls, value: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        made = validate(value)
        if isinstance(value, dict):
            made._keys = tuple(value)
        return made

    def as_given(self) -> dict[str, Any]:
        """As plain data for a template, without what is null, as the library gives it."""
        names = {field.alias or name: name for name, field in type(self).model_fields.items()}
        told = {key: plain(getattr(self, names[key])) for key in self._keys}
        return {key: value for key, value in told.items() if value is not None}


def plain(value: Any) -> Any:  # Any: JSON
    if isinstance(value, AsGiven):
        return value.as_given()
    return [plain(item) for item in value] if isinstance(value, list) else value


class TextPart(AsGiven):
    """A part of what a message says."""

    type: Literal["text"]
    text: str


def part_kind(value: object) -> str:
    kind = value.get("type", "text") if isinstance(value, dict) else "text"
    return "text" if kind == "text" or not isinstance(kind, str) else "other"


def refuse_part(value: dict[str, Any]) -> NoReturn:
    message = f"not supported yet: a part of type {value['type'][:MAX_SHOWN]}; messages are made of text"
    raise PydanticCustomError(ProblemCode.NOT_SUPPORTED, "{message}", {"message": message})


Part = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[dict[str, Any], PlainValidator(refuse_part, json_schema_input_type=dict[str, Any]), Tag("other")],
    Discriminator(part_kind),
]
Content = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[Part], Field(fail_fast=True, min_length=1, max_length=MAX_PARTS), Tag("texts")],
    Discriminator(text_kind),
]


def read_object(value: Any) -> Any:
    """The object that a JSON text stands for; anything but a text is left to the check that follows."""
    if not isinstance(value, str):
        return value
    try:
        found = from_json(value, allow_inf_nan=False)  # bounded in depth, as what follows needs it
        json.loads(value, object_pairs_hook=refuse_repeated)
    except ValueError as fault:
        raise PydanticCustomError("not_json", "{reason}", {"reason": f"is no JSON: {fault}"[:MAX_REASON]}) from None
    if not isinstance(found, dict):
        raise PydanticCustomError("not_an_object", "the JSON text is no object")
    return found


def refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"the key {key[:MAX_SHOWN]!r} is repeated in one object")
        seen.add(key)


class CalledFunction(AsGiven):
    """The function of a call. Templates get the arguments as an object."""

    name: FunctionName
    arguments: Annotated[dict[str, Any], BeforeValidator(read_object, json_schema_input_type=dict[str, Any] | str)] = (
        Field(description="An object, or the JSON text of one.")
    )


class ToolCall(AsGiven):
    """A call that the assistant made."""

    id: CallId | None = None
    type: Literal["function"]
    function: CalledFunction


class Message(AsGiven):
    """One turn of a conversation."""

    role: str = Field(min_length=1, max_length=64)
    content: Content | None = Field(
        default=None, description="A text, or parts of text; null only beside tool calls or reasoning."
    )
    reasoning_content: str | None = Field(default=None, description="What the assistant thought before it answered.")
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, max_length=MAX_CALLS)] | None = None
    tool_call_id: CallId | None = Field(default=None, description="Which call this is the result of.")
    name: str | None = Field(default=None, max_length=MAX_NAME_CHARS)

    @model_validator(mode="after")
    def check_content(self) -> Self:
        if self.content is None and self.tool_calls is None and self.reasoning_content is None:
            raise PydanticCustomError(ProblemCode.CONFLICT, "a message without tool_calls needs content")
        return self


class ToolFunction(AsGiven):
    """A function that the model may call."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="The JSON schema of its arguments.")
    strict: bool | None = None
    returned: dict[str, Any] | None = Field(
        default=None, alias="return", description="The JSON schema of its result, which some templates show."
    )


class Tool(AsGiven):
    """A tool, as templates show it to the model."""

    type: Literal["function"]
    function: ToolFunction


class Conversation(Body):
    """The fields that a conversation may come with, in whatever body it stands."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)] | None = Field(
        default=None, description="A conversation, rendered by the model's chat template; instead of `inputs`."
    )
    tools: Annotated[list[Tool], Field(max_length=MAX_TOOLS)] | None = Field(
        default=None, description="What the model may call; the chat template shows it to the model."
    )
    documents: Annotated[list[dict[str, Any]], Field(max_length=MAX_TOOLS)] | None = Field(
        default=None, description="What the answer may rest on, for templates that read it: mostly `title` and `text`."
    )
    chat_template_kwargs: dict[str, Any] | None = Field(
        default=None, description="Further variables that the chat template reads, as `enable_thinking`."
    )
    add_generation_prompt: bool | None = Field(
        default=None, description="Begin the assistant's answer; true if not set, unless the final message goes on."
    )
    continue_final_message: bool | None = Field(
        default=None, description="Go on with the text of the final message instead of beginning a new one."
    )

    @model_validator(mode="after")
    def check_conversation(self) -> Self:
        if self.add_generation_prompt and self.continue_final_message:
            message = "add_generation_prompt and continue_final_message exclude each other; give one of them"
            raise PydanticCustomError(ProblemCode.CONFLICT, "{message}", {"message": message})
        beside = [name for name in Conversation.model_fields if name != "messages"]
        idle = [name for name in beside if getattr(self, name) is not None]
        if idle and self.messages is None:
            message = f"{idle[0]} goes with messages, and there are none"
            raise PydanticCustomError(ProblemCode.CONFLICT, "{message}", {"message": message})
        return self
