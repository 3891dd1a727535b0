"""The body of `POST /generate`: our own contract, with the library's names wherever it has one."""

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.functional_validators import AfterValidator, PlainValidator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.generation.bounds import TokenId, pass_ids
from beamhouse.schemas.generation.config import GenerationConfig, GenerationMode
from beamhouse.schemas.words import ProblemCode

MAX_LISTED = 4096
MAX_TOP_TOKENS = 100
MAX_WORD_CHARS = 1024
MAX_FORCED = 256

Mode = Annotated[GenerationMode, Field(strict=False)]
TokenIds = Annotated[list[TokenId], Field(fail_fast=True), pass_ids()]
Text = str
Uint32 = Annotated[int, Field(ge=0, lt=2**32)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]


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


def check_distinct(numbers: list[int]) -> list[int]:
    for number, count in Counter(numbers).items():
        if count > 1:
            message = f"{number} is given {count} times; give each number once"
            raise PydanticCustomError(ProblemCode.CONFLICT, "{message}", {"message": message})
    return numbers


def scalar_kind(value: object) -> str:
    return "list" if isinstance(value, list) else "one"


def text_kind(value: object) -> str:
    return "texts" if isinstance(value, list) else "text"


def ids_kind(value: object) -> str:
    return "lists" if isinstance(value, list) and value and isinstance(value[0], list) else "list"


def object_kind(value: object) -> str:
    return "name" if isinstance(value, str) else "object"


def flag_kind(value: object) -> str:
    return "object" if isinstance(value, dict) else "flag"


Inputs = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[list[Text], Field(fail_fast=True, min_length=1, max_length=MAX_LISTED), Tag("texts")]
    | Annotated[TokenIds, Tag("ids")]
    | Annotated[list[TokenIds], Field(fail_fast=True, max_length=MAX_LISTED), Tag("id_lists")]
    | Annotated[dict[str, Any], PlainValidator(refuse_media, json_schema_input_type=dict[str, Any]), Tag("media")],
    Discriminator(inputs_kind),
]
TextOrIds = Annotated[
    Annotated[Text, Tag("text")] | Annotated[TokenIds, Tag("ids")],
    Discriminator(inputs_kind),
]
ConfigOrName = Annotated[
    Annotated[GenerationConfig, Tag("object")] | Annotated[str, Field(min_length=1, max_length=128), Tag("name")],
    Discriminator(object_kind),
]


TextOrTexts = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[list[Text], Field(fail_fast=True, min_length=1, max_length=MAX_LISTED), Tag("texts")],
    Discriminator(text_kind),
]
IdsOrLists = Annotated[
    Annotated[TokenIds, Tag("list")] | Annotated[list[TokenIds], Field(max_length=MAX_LISTED), Tag("lists")],
    Discriminator(ids_kind),
]
MaskBit = Annotated[int, Field(ge=0, le=1)]
Mask = Annotated[list[MaskBit], Field(fail_fast=True)]
MaskOrMasks = Annotated[
    Annotated[Mask, Tag("list")] | Annotated[list[Mask], Field(max_length=MAX_LISTED), Tag("lists")],
    Discriminator(ids_kind),
]
Word = Annotated[str, Field(min_length=1, max_length=MAX_WORD_CHARS)]
Words = Annotated[list[Word], Field(fail_fast=True, min_length=1, max_length=MAX_FORCED)]
WordOrChoice = Annotated[
    Annotated[Word, Tag("text")] | Annotated[Words, Tag("texts")],
    Discriminator(text_kind),
]
Position = Annotated[int, Field(ge=0, lt=2**31)]
Layer = Annotated[int, Field(ge=-4096, le=4096)]
DISTINCT = (Field(fail_fast=True), AfterValidator(check_distinct))


class Message(Body):
    """One turn of a conversation."""

    role: str = Field(min_length=1, max_length=64)
    content: Text


class PrefixAllowedTokens(Body):
    """`prefix_allowed_tokens_fn` as data: exactly one of the fields before `whitespace`."""

    token_ids: Annotated[list[TokenId], Field(fail_fast=True, min_length=1)] | None = Field(
        default=None, description="The only tokens allowed at every step."
    )
    sequences: Annotated[list[TokenIds], Field(fail_fast=True, min_length=1, max_length=MAX_LISTED)] | None = Field(
        default=None, description="The generated tokens must be one of these."
    )
    trie: str | None = Field(default=None, max_length=128, description="Name of sequences stored on the server.")
    regex: str | None = Field(default=None, max_length=65_536, description="The text must match this expression.")
    json_schema: dict[str, Any] | None = Field(default=None, description="The text must be JSON of this schema.")
    grammar: str | None = Field(default=None, max_length=65_536, description="The text must follow this Lark grammar.")
    whitespace: Literal["compact", "single", "free"] | None = Field(
        default=None,
        description="White space between the parts of JSON, by `json_schema` or `%json` in a `grammar`: none, at most "
        "one space, or any. Not set: what `x-guidance` of the schema says, else `single`.",
    )

    @model_validator(mode="after")
    def check_one(self) -> "PrefixAllowedTokens":
        kinds = [name for name in type(self).model_fields if name != "whitespace"]
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) != 1:
            names = ", ".join(kinds)
            message = f"exactly one of {names} is needed; given: {', '.join(given) or 'none'}"
            raise PydanticCustomError(ProblemCode.CONFLICT, "{message}", {"message": message})
        if self.whitespace is not None and self.json_schema is None and "%json" not in (self.grammar or ""):
            raise PydanticCustomError(
                ProblemCode.CONFLICT, "whitespace acts on json_schema, and on a grammar that holds %json"
            )
        return self


class NamedCallable(Body):
    """A logits processor or stopping criterion registered on the server."""

    name: str = Field(min_length=1, max_length=128)
    args: dict[str, Any] = {}


class TransitionScores(Body):
    """How the scores of chosen tokens are given: as log-probabilities, or as the processed scores themselves."""

    normalize_logits: bool = True


class Outputs(Body):
    """What to return beside text and token ids."""

    transition_scores: (
        Annotated[
            Annotated[bool, Tag("flag")] | Annotated[TransitionScores, Tag("object")],
            Discriminator(flag_kind),
        ]
        | None
    ) = Field(
        default=None,
        description="Score of each chosen token; `true` means log-probabilities, of a beam search those it added up.",
    )
    top_n_tokens: int | None = Field(default=None, ge=0, le=MAX_TOP_TOKENS, description="Likeliest tokens per step.")
    prompt_logprobs: bool | None = Field(default=None, description="Log-probability of each prompt token.")
    config: bool | None = Field(default=None, description="Return the resolved generation configuration.")
    tensors: Literal["json", "base64", "safetensors"] | None = Field(
        default=None, description="How `scores`, `logits`, `hidden_states` and `attentions` travel; `json` if not set."
    )
    watermark_flags: bool | None = Field(
        default=None, description="Say of each generated token whether it speaks for the watermark."
    )
    progress: bool | None = Field(
        default=None, description="Stream an event with the live hypotheses of each step of a beam search."
    )
    positions: Annotated[list[Position], *DISTINCT] | None = Field(
        default=None, description="Generated positions to keep of the tensors, counted from 0; all if not set."
    )
    layers: Annotated[list[Layer], *DISTINCT] | None = Field(
        default=None, description="Layers to keep of hidden states and attentions; negative ones count from the last."
    )


EXCLUSIVE = (("inputs", "messages"), ("seed", "prng_key"), ("negative_prompt", "negative_prompt_ids"))


class GenerateRequest(Body):
    """One prompt or several, and how to continue them."""

    not_supported = frozenset({"parameters", "decoder_inputs", "adapter"})

    inputs: Inputs | None = Field(
        default=None, description="Text, texts, token ids or lists of them; null starts from `bos_token_id`."
    )
    messages: Annotated[list[Message], Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="A conversation, rendered by the model's chat template; instead of `inputs`."
    )
    generation_config: ConfigOrName | None = Field(
        default=None, description="An object, its JSON as a string, or the name of a stored configuration."
    )
    negative_prompt: TextOrTexts | None = Field(
        default=None,
        description="What `guidance_scale` leads away from: one text for all prompts, or one for each. Not set: the "
        "last token of the prompt.",
    )
    negative_prompt_ids: IdsOrLists | None = Field(
        default=None, description="The same as token ids; instead of `negative_prompt`."
    )
    negative_prompt_attention_mask: MaskOrMasks | None = Field(
        default=None,
        description="For each of `negative_prompt_ids` 1, or 0 for padding before the first 1, which is not attended "
        "to; zeros behind a 1 are refused.",
    )
    assistant_model: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="Name of a draft model that the server loaded at its start."
    )
    force_words: Annotated[list[WordOrChoice], Field(min_length=1, max_length=MAX_FORCED)] | None = Field(
        default=None,
        description="`force_words_ids` in words, behind those given as ids; a list in a word's place is a choice. Each "
        "is looked for as it stands inside a text, so with a space before it unless it begins with one.",
    )
    mode: Mode | None = Field(default=None, description="Must agree with what the configuration implies.")
    seed: (
        Annotated[
            Annotated[Seed, Tag("one")] | Annotated[list[Seed], Field(min_length=2, max_length=2), Tag("list")],
            Discriminator(scalar_kind),
        ]
        | None
    ) = Field(default=None, description="As `torch.manual_seed(seed)` on a batch of one; a pair is mixed into one.")
    prng_key: Annotated[list[Uint32], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="The same as a pair in `seed`, in JAX's words."
    )
    prefix_allowed_tokens: PrefixAllowedTokens | None = None
    logits_processor: Annotated[list[NamedCallable], Field(max_length=16)] | None = None
    stopping_criteria: Annotated[list[NamedCallable], Field(max_length=16)] | None = None
    stream: bool | None = Field(
        default=None, description="Answer with server-sent events; also by `Accept: text/event-stream`."
    )
    outputs: Outputs | None = None
    priority: int | None = Field(default=None, ge=-(2**31), lt=2**31, description="Higher ones leave the queue first.")
    deadline_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Seconds from the arrival of the request within which its first step must begin.",
    )
    cache_salt: str | None = Field(
        default=None, max_length=256, description="Cached prefixes are shared only under equal salts."
    )

    @model_validator(mode="after")
    def check_pairs(self) -> "GenerateRequest":
        for first, second in EXCLUSIVE:
            if getattr(self, first) is not None and getattr(self, second) is not None:
                raise PydanticCustomError(
                    ProblemCode.CONFLICT, f"{first} and {second} exclude each other; give one of them"
                )
        return self
