"""What an answer is to look like, in the words of OpenAI, TGI and their clients; `prefix_allowed_tokens` in ours.

| type | OpenAI chat | OpenAI responses | TGI, `huggingface_hub` |
|---|---|---|---|
| text | `{}` | `{}` | |
| json_object | `{}`, or `schema` as llama.cpp has it | `{}` | `value`: a schema |
| json | | | `value`: a schema |
| json_schema | `json_schema`: `name`, `schema`, `strict` | `name`, `schema`, `strict` | `value`: `name`, `schema` |
| regex | | | `value`: an expression |
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.beamhouse.body import Body
from beamhouse.schemas.beamhouse.generate import MAX_GRAMMAR_CHARS, PrefixAllowedTokens
from beamhouse.schemas.generation.bounds import MAX_NAME_CHARS
from beamhouse.schemas.words import ProblemCode

Schema = dict[str, Any]
FormatName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]

ANY_OBJECT: Schema = {"type": "object"}


class TextFormat(Body):
    """Any text."""

    type: Literal["text"]

    def held(self) -> PrefixAllowedTokens | None:
        return None


class ObjectFormat(Body):
    """An object in JSON, of a schema where one is given."""

    type: Literal["json_object"]
    value: Schema | None = None
    schema_: Schema | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def check_schemas(self) -> Self:
        check_one(False, value=self.value, schema=self.schema_)
        return self

    def held(self) -> PrefixAllowedTokens | None:
        schema = self.value if self.schema_ is None else self.schema_
        return PrefixAllowedTokens(json_schema=ANY_OBJECT if schema is None else schema)


class JsonFormat(Body):
    """JSON of a schema, as TGI has it."""

    type: Literal["json"]
    value: Schema

    def held(self) -> PrefixAllowedTokens | None:
        return PrefixAllowedTokens(json_schema=self.value)


class NamedSchema(Body):
    """A schema with a name. strict: the answer is always held to it."""

    name: FormatName | None = None
    description: str | None = None
    schema_: Schema | None = Field(default=None, alias="schema")
    strict: bool | None = None


class SchemaFormat(NamedSchema):
    """JSON of a schema, which stands in `json_schema`, in `value` or here."""

    type: Literal["json_schema"]
    json_schema: NamedSchema | None = None
    value: NamedSchema | None = None

    @model_validator(mode="after")
    def check_schemas(self) -> Self:
        check_one(True, json_schema=self.json_schema, value=self.value, schema=self.schema_)
        return self

    def held(self) -> PrefixAllowedTokens | None:
        named = self.json_schema or self.value or self
        return PrefixAllowedTokens(json_schema=ANY_OBJECT if named.schema_ is None else named.schema_)


class RegexFormat(Body):
    """A text that matches an expression, as TGI has it."""

    type: Literal["regex"]
    value: str = Field(max_length=MAX_GRAMMAR_CHARS)

    def held(self) -> PrefixAllowedTokens | None:
        return PrefixAllowedTokens(regex=self.value)


def check_one(is_needed: bool, **given: object) -> None:
    """Of several places for the same thing one is used."""
    used = [name for name, value in given.items() if value is not None]
    if len(used) > 1 or (is_needed and not used):
        message = f"give one of {', '.join(given)}; given: {', '.join(used) or 'none'}"
        raise PydanticCustomError(ProblemCode.CONFLICT, "{message}", {"message": message})


def format_kind(value: object) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if isinstance(kind, str) else None


ResponseFormat = Annotated[
    Annotated[TextFormat, Tag("text")]
    | Annotated[ObjectFormat, Tag("json_object")]
    | Annotated[JsonFormat, Tag("json")]
    | Annotated[SchemaFormat, Tag("json_schema")]
    | Annotated[RegexFormat, Tag("regex")],
    Discriminator(format_kind),
]
"""One of them, by `type`. `held()` is what the text is held to; None: nothing. For the answer in a turn of a model that
may reason before: `server/conversation/grammars.py`."""
