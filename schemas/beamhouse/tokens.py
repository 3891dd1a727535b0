"""Bodies and answers of `/tokenize` and `/detokenize`."""

from typing import Annotated

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.beamhouse.generate import MAX_LISTED, Body, Message, Text, TokenIds, inputs_kind
from beamhouse.schemas.words import ProblemCode


class TokenizeRequest(Body):
    """A text, several, or a conversation for the model's chat template."""

    inputs: (
        Annotated[
            Annotated[Text, Tag("text")]
            | Annotated[list[Text], Field(fail_fast=True, min_length=1, max_length=MAX_LISTED), Tag("texts")],
            Discriminator(lambda value: "texts" if isinstance(value, list) else "text"),
        ]
        | None
    ) = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=1024)] | None = None
    add_special_tokens: bool | None = Field(
        default=None,
        description="Add what the tokenizer puts around a text; true for texts, false for messages.",
    )

    @model_validator(mode="after")
    def check_one(self) -> "TokenizeRequest":
        if (self.inputs is None) == (self.messages is None):
            raise PydanticCustomError(ProblemCode.CONFLICT, "exactly one of inputs and messages is needed")
        return self


class TokenizedText(BaseModel):
    """The tokens of one text."""

    token_ids: list[int]
    tokens: list[str] = Field(description="The text of each token on its own.")
    num_tokens: int


class TokenizeAnswer(BaseModel):
    """The tokens of every text, in order."""

    sequences: list[TokenizedText]


class DetokenizeRequest(Body):
    """Token ids, or several lists of them."""

    token_ids: Annotated[
        Annotated[TokenIds, Tag("ids")]
        | Annotated[list[TokenIds], Field(fail_fast=True, max_length=MAX_LISTED), Tag("id_lists")],
        Discriminator(lambda value: "id_lists" if inputs_kind(value) == "id_lists" else "ids"),
    ]
    skip_special_tokens: bool = True


class DetokenizeAnswer(BaseModel):
    """The text of every list, in order."""

    texts: list[str]
