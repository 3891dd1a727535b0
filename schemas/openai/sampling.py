"""What the bodies of OpenAI's protocol have in common: how to continue a prompt, in its words and in ours."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, JsonValue, Tag
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.beamhouse.body import Body, text_kind
from beamhouse.schemas.beamhouse.generate import (
    MAX_GRAMMAR_CHARS,
    MAX_TOP_TOKENS,
    object_kind,
)
from beamhouse.schemas.beamhouse.own_fields import ClientName, OwnFields
from beamhouse.schemas.beamhouse.response_format import ResponseFormat
from beamhouse.schemas.generation.bounds import (
    MAX_PHRASES,
    MAX_STOP_STRINGS,
    AtLeastOne,
    AtLeastZero,
    Beams,
    SomeTokenIds,
    StopString,
    TokenIds,
)
from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ProblemCode

StopStrings = Annotated[
    Annotated[StopString, Tag("text")]
    | Annotated[list[StopString], Field(fail_fast=True, max_length=MAX_STOP_STRINGS), Tag("texts")],
    Discriminator(text_kind),
]
Schema = Annotated[
    Annotated[dict[str, Any], Tag("object")] | Annotated[str, Tag("name")],
    Discriminator(object_kind),
]
"""A JSON schema, as it is or as JSON text."""
Choices = Annotated[
    list[Annotated[str, Field(min_length=1)]], Field(fail_fast=True, min_length=1, max_length=MAX_PHRASES)
]
GrammarText = Annotated[str, Field(max_length=MAX_GRAMMAR_CHARS)]
NumTop = Annotated[int, Field(ge=0, le=MAX_TOP_TOKENS)]


def check_number(key: str) -> str:
    """Each id has one spelling, so that no two keys of an object are the same token."""
    if re.fullmatch(TOKEN_NUMBER, key) is None:
        message = f"{key[:MAX_SHOWN]} is not a token id; it is a whole number in digits, without zeros before it"
        raise PydanticCustomError(ProblemCode.OUT_OF_RANGE, "{message}", {"message": message})
    return key


TOKEN_NUMBER = r"^(0|[1-9][0-9]{0,9})$"
TokenNumber = Annotated[str, AfterValidator(check_number), Field(json_schema_extra={"pattern": TOKEN_NUMBER})]
Weight = Annotated[float, Field(ge=-100, le=100)]


class StreamOptions(Body):
    """What a stream holds beside its pieces."""

    include_usage: bool | None = Field(default=None, description="A chunk with the usage and no choice before the end.")
    continuous_usage_stats: bool | None = Field(default=None, description="The usage so far in every chunk.")
    include_obfuscation: Literal[False] | None = Field(default=None, description="Chunks are never padded.")


class StructuredOutputs(Body):
    """What the text must follow, as vLLM says it: one of these."""

    json_schema: Schema | None = Field(default=None, alias="json", description="JSON of this schema.")
    json_object: bool | None = Field(default=None, description="Any JSON object.")
    regex: GrammarText | None = Field(default=None, description="What this expression matches.")
    choice: Choices | None = Field(default=None, description="One of these texts.")
    grammar: GrammarText | None = Field(default=None, description="What this Lark grammar derives.")


class SamplingFields(OwnFields):
    """How to continue a prompt, in OpenAI's words and in ours."""

    not_supported: ClassVar[frozenset[str]] = frozenset({"bad_words", "prompt_embeds", "logprob_token_ids", "adapter"})

    stream_options: StreamOptions | None = None
    """What a stream holds beside its pieces."""

    # OpenAI's own
    max_tokens: AtLeastZero | None = None
    """Most tokens after the prompt."""
    n: Beams | None = None
    """Choices for each prompt. Not set: 1."""
    best_of: Beams | None = None
    """Draw so many, and answer with the `n` of the highest mean log-probability; with `use_beam_search`, the beams."""
    stop: StopStrings | None = None
    """Text, or texts, before which a choice ends."""
    logit_bias: Annotated[dict[TokenNumber, Weight], Field(max_length=MAX_PHRASES)] | None = None
    """Added to the score of a token, by its id; -100 to 100."""
    user: ClientName | None = None
    """Changes nothing, and is written down nowhere."""
    safety_identifier: ClientName | None = None
    """Changes nothing, and is written down nowhere."""
    metadata: Annotated[dict[str, JsonValue], Field(max_length=64)] | None = None
    """Changes nothing, and is written down nowhere."""
    prompt_cache_key: ClientName | None = None
    """Changes nothing: all prompts share what they have in common, unless `cache_salt` keeps them apart."""
    store: Literal[False] | None = None
    """Nothing is ever stored."""
    service_tier: Literal["auto", "default"] | None = None
    """There is one tier."""

    # vLLM's and llama.cpp's
    min_tokens: AtLeastZero | None = None
    """A choice cannot end before it has so many tokens."""
    use_beam_search: bool | None = None
    """Search with `best_of` beams, or `n`, or `num_beams`, without drawing."""
    stop_token_ids: TokenIds | None = None
    """Tokens that end a choice, beside the model's own."""
    ignore_eos: bool | None = None
    """The model's end tokens end nothing."""
    include_stop_str_in_output: bool | None = None
    """Keep the stop string at the end of the text."""
    skip_special_tokens: bool | None = None
    """Leave special tokens out of the text. Not set: true."""
    add_special_tokens: bool | None = None
    """Add what the tokenizer puts around a text. Not set: true for prompts, false for messages."""
    truncate_prompt_tokens: AtLeastOne | None = None
    """Keep the last so many tokens of each prompt."""
    prompt_logprobs: NumTop | None = None
    """Log-probability of each token of the prompt, and so many of the likeliest ones in its place."""
    logprobs_mode: Literal["raw", "processed"] | None = None
    """Whether log-probabilities are those of the model (the default) or those that were drawn from."""
    return_token_ids: bool | None = None
    """Tell the ids of the prompt and of each choice."""
    return_tokens_as_token_ids: bool | None = None
    """Call tokens `token_id:<id>` in log-probabilities."""
    allowed_token_ids: SomeTokenIds | None = None
    """The only tokens allowed."""
    guided_json: Schema | None = None
    """The text is JSON of this schema."""
    guided_regex: GrammarText | None = None
    """The text is what this expression matches."""
    guided_choice: Choices | None = None
    """The text is one of these."""
    guided_grammar: GrammarText | None = None
    """The text is what this Lark grammar derives."""
    structured_outputs: StructuredOutputs | None = None
    """The same in one place."""
    response_format: ResponseFormat | None = None
    """What an answer looks like: any text, an object in JSON, or JSON of a schema."""
