"""Bodies and answers of `/tokenize` and `/detokenize`."""

from typing import Annotated

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.beamhouse.body import MAX_LISTED, AddSpecialTokens, AnyTokenIds, Body, TextOrTexts, ids_kind
from beamhouse.schemas.beamhouse.conversation import Conversation
from beamhouse.schemas.words import ProblemCode


class TokenizeRequest(Conversation):
    """A text, several, or a conversation for the model's chat template."""

    inputs: TextOrTexts | None = None
    add_special_tokens: AddSpecialTokens = None

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
        Annotated[AnyTokenIds, Tag("list")]
        | Annotated[list[AnyTokenIds], Field(fail_fast=True, max_length=MAX_LISTED), Tag("lists")],
        Discriminator(ids_kind),
    ]
    skip_special_tokens: bool = True


class DetokenizeAnswer(BaseModel):
    """The text of every list, in order."""

    texts: list[str]
