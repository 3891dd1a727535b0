"""What the bodies of requests are made of: prompts as text and as token ids, names, a place in the queue."""

from typing import Annotated, Any, ClassVar, NoReturn

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.functional_validators import PlainValidator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.generation.bounds import TokenId, pass_ids
from beamhouse.schemas.words import ProblemCode

MAX_LISTED = 4096

AnyTokenIds = Annotated[list[TokenId], Field(fail_fast=True), pass_ids()]
"""As many as fit into a body."""


class Body(BaseModel):
    """Base of all request bodies: nothing is coerced, nothing unknown is accepted, null equals absent.

    not_supported: fields of the contract that are refused by name when they are set.
    """

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    not_supported: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        known = cls.model_fields.keys() | cls.not_supported
        return {key: item for key, item in value.items() if item is not None or key not in known}


def inputs_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "media"
    if not isinstance(value, list):
        return "text"
    if value and isinstance(value[0], str):
        return "texts"
    return "id_lists" if value and isinstance(value[0], list) else "ids"


def refuse_media(_: object) -> NoReturn:
    raise PydanticCustomError(ProblemCode.NOT_SUPPORTED, "not supported yet: inputs other than text and token ids")


def tag_of(known: tuple[str, ...], value: object) -> str:
    """By its `type`, and unlike any key; what has none is of the first kind, and what is of no known one is `other`."""
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind not in known:
        return "kind:other"
    return f"kind:{kind if isinstance(kind, str) else known[0]}"


def text_kind(value: object) -> str:
    return "texts" if isinstance(value, list) else "text"


def ids_kind(value: object) -> str:
    return "lists" if isinstance(value, list) and value and isinstance(value[0], list) else "list"


Inputs = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MAX_LISTED), Tag("texts")]
    | Annotated[AnyTokenIds, Tag("ids")]
    | Annotated[list[AnyTokenIds], Field(fail_fast=True, max_length=MAX_LISTED), Tag("id_lists")]
    | Annotated[dict[str, Any], PlainValidator(refuse_media, json_schema_input_type=dict[str, Any]), Tag("media")],
    Discriminator(inputs_kind),
]
TextOrIds = Annotated[
    Annotated[str, Tag("text")] | Annotated[AnyTokenIds, Tag("ids")],
    Discriminator(inputs_kind),
]
TextOrTexts = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MAX_LISTED), Tag("texts")],
    Discriminator(text_kind),
]
IdsOrLists = Annotated[
    Annotated[AnyTokenIds, Tag("list")] | Annotated[list[AnyTokenIds], Field(max_length=MAX_LISTED), Tag("lists")],
    Discriminator(ids_kind),
]
MaskBit = Annotated[int, Field(ge=0, le=1)]
AttentionMask = Annotated[list[MaskBit], Field(fail_fast=True)]
MaskOrMasks = Annotated[
    Annotated[AttentionMask, Tag("list")] | Annotated[list[AttentionMask], Field(max_length=MAX_LISTED), Tag("lists")],
    Discriminator(ids_kind),
]


AddSpecialTokens = Annotated[
    bool | None,
    Field(description="Add what the tokenizer puts around a prompt; if not set to texts, and not to messages."),
]
Priority = Annotated[int | None, Field(ge=-(2**31), lt=2**31, description="Higher ones leave the queue first.")]
Deadline = Annotated[
    float | None,
    Field(
        gt=0,
        le=86_400,
        description="Seconds from the arrival of the request within which its first step must begin.",
    ),
]
CacheSalt = Annotated[
    str | None, Field(max_length=256, description="Cached prefixes are shared only under equal salts.")
]
