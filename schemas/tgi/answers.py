"""What TGI's routes answer. Written often and never read here: plain structures that one call encodes.

A log-probability is null where there is none: of the first token of a prompt, and of a token that could not be chosen.
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import BaseModel, Field


class PrefillToken(msgspec.Struct, frozen=True):
    """A token of the prompt."""

    id: int
    text: str
    logprob: float | None


class Token(msgspec.Struct, frozen=True):
    """A generated token, or one of the likeliest. text: what it adds; of a special one that adds nothing, its name.

    special: whether it adds nothing to the text, being special.
    """

    id: int
    text: str
    logprob: float | None
    special: bool


class Sequence(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one sequence in `details`. prefill, tokens, top_tokens: JSON that is written already."""

    generated_text: str | UnsetType = UNSET
    finish_reason: str
    generated_tokens: int
    seed: int | None
    prefill: msgspec.Raw
    tokens: msgspec.Raw
    best_of_sequences: "list[Sequence] | UnsetType" = UNSET
    top_tokens: msgspec.Raw | UnsetType = UNSET


class Generation(msgspec.Struct, frozen=True):
    """The answer. native: the answer of our own protocol, where `outputs` ask for what TGI's has no place for."""

    generated_text: str
    details: Sequence | UnsetType = UNSET
    native: msgspec.Raw | UnsetType = UNSET


class StreamDetails(msgspec.Struct, frozen=True):
    """How a stream ended."""

    finish_reason: str
    generated_tokens: int
    seed: int | None
    input_length: int


class StreamEvent(msgspec.Struct, frozen=True):
    """One token of a stream; the last one has the whole text, and the details if they were asked for."""

    index: int
    token: Token
    generated_text: str | None = None
    details: StreamDetails | None = None
    top_tokens: list[Token] | UnsetType = UNSET
    native: msgspec.Raw | UnsetType = UNSET


class SimpleToken(msgspec.Struct, frozen=True):
    """A token of a text that was tokenised, and the characters it stands for."""

    id: int
    text: str
    start: int
    stop: int


class SimpleTokenAnswer(BaseModel):
    """A token of a text, and the characters it stands for: the first, and the one behind the last."""

    id: int
    text: str
    start: int
    stop: int


class ChatTokenizeAnswer(BaseModel):
    """The tokens of a conversation, and what the chat template made of it."""

    tokenize_response: list[SimpleTokenAnswer]
    templated_text: str


class TgiTokenAnswer(BaseModel):
    """A generated token, or one of the likeliest."""

    id: int
    text: str
    logprob: float | None
    special: bool


class TgiPrefillAnswer(BaseModel):
    """A token of the prompt; the first one has no log-probability."""

    id: int
    text: str
    logprob: float | None


class TgiSequenceAnswer(BaseModel):
    """What is told of one sequence."""

    generated_text: str | None = None
    finish_reason: str = Field(description="`length`, `eos_token` or `stop_sequence`.")
    generated_tokens: int
    seed: int | None = Field(description="Repeats the sequence, if sent again; null where nothing was drawn.")
    prefill: list[TgiPrefillAnswer]
    tokens: list[TgiTokenAnswer]
    top_tokens: list[list[TgiTokenAnswer]] | None = None


class TgiDetailsAnswer(TgiSequenceAnswer):
    """The best sequence, and the others beside it."""

    best_of_sequences: list[TgiSequenceAnswer] | None = None


class TgiAnswer(BaseModel):
    """What `POST /generate` answers a body with `parameters`."""

    generated_text: str
    details: TgiDetailsAnswer | None = None
    native: dict[str, Any] | None = Field(
        default=None, description="The answer of our own protocol, if `parameters.outputs` were given."
    )


class TgiError(BaseModel):
    """Why there is no answer."""

    error: str
    error_type: str
