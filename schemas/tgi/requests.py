"""The bodies of text-generation-inference's routes: its own words, and in `parameters` all of ours."""

from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError, from_json

from beamhouse.schemas.beamhouse.body import Body
from beamhouse.schemas.beamhouse.generate import MAX_GRAMMAR_CHARS, MAX_TOP_TOKENS, Beside, ConfigOrName, object_kind
from beamhouse.schemas.generation.bounds import MAX_STOP_STRINGS, AtLeastOne, Beams, InnerShare, Name, StopString
from beamhouse.schemas.generation.fields import GenerationFields
from beamhouse.schemas.words import ProblemCode


def refuse_adapter(_: str) -> NoReturn:
    raise PydanticCustomError(ProblemCode.NOT_SUPPORTED, "not supported yet: adapter_id; this server holds no adapters")


def read_object(value: object) -> object:
    """What stands in a text that opens like a JSON object; any other value as it is."""
    return from_json(value) if isinstance(value, str) and value.lstrip().startswith("{") else value


GrammarValue = Annotated[
    Annotated[dict[str, Any], Tag("object")] | Annotated[str, Field(max_length=MAX_GRAMMAR_CHARS), Tag("name")],
    Discriminator(object_kind),
]


class Grammar(Body):
    """What the text must follow."""

    type: Literal["json", "json_object", "json_schema", "regex"]
    value: GrammarValue
    """A schema, also as JSON text, or an expression; for `json_schema` an object with the schema in `schema`."""

    @model_validator(mode="after")
    def check_regex(self) -> Self:
        if self.type == "regex" and not isinstance(self.value, str):
            raise PydanticCustomError(
                ProblemCode.CONFLICT, "type is regex, and value an object; an expression is a text"
            )
        return self


class Parameters(Beside, GenerationFields):
    """How to continue the prompt: TGI's words where it has one, and all fields of our own protocol beside them.

    Null equals absent.
    """

    generation_config: Annotated[ConfigOrName, BeforeValidator(read_object)] | None = None
    """Fields of `generate()`, as an object or its JSON, or the name of a stored configuration."""

    # Other bounds than `generate()` has.
    top_k: AtLeastOne | None = None
    """Draws from the k likeliest tokens; in contrastive search the number of candidates. Not set: from all."""
    top_p: InnerShare | None = None
    """Draws from the likeliest tokens that together reach this probability. Not set: from all."""
    typical_p: InnerShare | None = None
    """Draws from the tokens of most typical surprise that together reach this probability. Not set: from all."""

    # Words that `generate()` does not have.
    adapter_id: Annotated[Name, AfterValidator(refuse_adapter)] | None = None
    """Adapters are not served; only null."""
    best_of: Beams | None = None
    """Draws so many sequences; the one of the highest mean log-probability is the answer."""
    decoder_input_details: bool | None = None
    """Log-probabilities of the prompt's tokens, in `details.prefill`."""
    details: bool | None = None
    """Tokens, log-probabilities and the reason of the end. Not set: false."""
    grammar: Grammar | None = None
    """What the text must follow."""
    return_full_text: bool | None = None
    """Whether the text begins with the prompt."""
    stop: Annotated[list[StopString], Field(fail_fast=True, max_length=MAX_STOP_STRINGS)] | None = None
    """Texts after which the answer ends; they stay in it."""
    top_n_tokens: Annotated[int, Field(ge=0, le=MAX_TOP_TOKENS)] | None = None
    """Likeliest tokens of each step."""
    truncate: AtLeastOne | None = None
    """Keeps the last so many tokens of the prompt."""
    watermark: bool | None = None
    """Marks the text as the server's setting `tgi_watermark` says; false says nothing of it."""


class TgiRequest(Body):
    """A prompt, and how to continue it."""

    inputs: str = Field(min_length=1)
    parameters: Parameters | None = None
    stream: bool | None = Field(default=None, description="Answer with server-sent events.")
    add_special_tokens: bool | None = Field(
        default=None, description="Add what the tokenizer puts around a text. Not set: true."
    )


class TgiStreamRequest(TgiRequest):
    """The same where the route streams: it cannot be asked not to."""

    stream: Literal[True] | None = None
