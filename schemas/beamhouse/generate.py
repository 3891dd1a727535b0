"""The body of `POST /generate`: our own contract, with the library's names wherever it has one."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, PrivateAttr, Tag, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.beamhouse.body import (
    MAX_LISTED,
    AddSpecialTokens,
    AnyTokenIds,
    Body,
    CacheSalt,
    Deadline,
    IdsOrLists,
    Inputs,
    MaskOrMasks,
    Priority,
    TextOrTexts,
    text_kind,
)
from beamhouse.schemas.beamhouse.conversation import Conversation
from beamhouse.schemas.generation.bounds import FORCED, MAX_FORCED, MAX_NAME_CHARS, Beams, Name, TokenId
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.words import ProblemCode

MAX_TOP_TOKENS = 100
MAX_WORD_CHARS = 1024
MAX_GRAMMAR_CHARS = 65_536

Mode = Annotated[GenerationMode, Field(strict=False)]
Uint32 = Annotated[int, Field(ge=0, lt=2**32)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]


def check_distinct(numbers: list[int]) -> list[int]:
    for number, count in Counter(numbers).items():
        if count > 1:
            message = f"{number} is given {count} times; give each number once"
            raise PydanticCustomError(ProblemCode.CONFLICT, "{message}", {"message": message})
    return numbers


def scalar_kind(value: object) -> str:
    return "list" if isinstance(value, list) else "one"


def object_kind(value: object) -> str:
    return "name" if isinstance(value, str) else "object"


def flag_kind(value: object) -> str:
    return "object" if isinstance(value, dict) else "flag"


ConfigOrName = Annotated[
    Annotated[GenerationConfig, Tag("object")] | Annotated[Name, Tag("name")],
    Discriminator(object_kind),
]
ForcedWord = Annotated[str, Field(min_length=1, max_length=MAX_WORD_CHARS)]
ForcedWords = Annotated[list[ForcedWord], FORCED]
ForcedWordOrChoice = Annotated[
    Annotated[ForcedWord, Tag("text")] | Annotated[ForcedWords, Tag("texts")],
    Discriminator(text_kind),
]
Whitespace = Literal["compact", "single", "free"]
Position = Annotated[int, Field(ge=0, lt=2**31)]
LayerNumber = Annotated[int, Field(ge=-4096, le=4096)]
DISTINCT = (Field(fail_fast=True), AfterValidator(check_distinct))


class PrefixAllowedTokens(Body):
    """`prefix_allowed_tokens_fn` as data: exactly one of the fields before `whitespace`."""

    token_ids: Annotated[list[TokenId], Field(fail_fast=True, min_length=1)] | None = Field(
        default=None, description="The only tokens allowed at every step."
    )
    sequences: Annotated[list[AnyTokenIds], Field(fail_fast=True, min_length=1, max_length=MAX_LISTED)] | None = Field(
        default=None, description="The generated tokens must be one of these."
    )
    trie: str | None = Field(
        default=None, max_length=MAX_NAME_CHARS, description="Name of sequences stored on the server."
    )
    regex: str | None = Field(
        default=None, max_length=MAX_GRAMMAR_CHARS, description="The text must match this expression."
    )
    json_schema: dict[str, Any] | None = Field(default=None, description="The text must be JSON of this schema.")
    grammar: str | None = Field(
        default=None, max_length=MAX_GRAMMAR_CHARS, description="The text must follow this Lark grammar."
    )
    whitespace: Whitespace | None = Field(
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

    name: Name
    args: dict[str, Any] = Field(default={})


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
    logprobs: Literal["processed", "raw"] | None = Field(
        default=None,
        description="What transition scores and likeliest tokens are told from: the scores that tokens are chosen by, "
        "which is meant if not set, or the model's own logits before anything acted on them.",
    )
    prompt_logprobs: bool | None = Field(default=None, description="Log-probability of each prompt token.")
    prompt_top_n_tokens: int | None = Field(
        default=None, ge=0, le=MAX_TOP_TOKENS, description="Likeliest tokens at each position of the prompt."
    )
    prompt_only: bool | None = Field(
        default=None,
        description="Generate nothing: each sequence is empty and ends by its length. For what is told of the prompt.",
    )
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
    skip_special_tokens: bool | None = Field(
        default=None, description="Leave special tokens out of the text; true if not set."
    )
    include_stop_string: bool | None = Field(
        default=None,
        description="Whether the text keeps the stop string that ended it; true if not set. Else it ends before that, "
        "and a stream holds back what may become one. Token ids stay what they are.",
    )
    positions: Annotated[list[Position], *DISTINCT] | None = Field(
        default=None, description="Generated positions to keep of the tensors, counted from 0; all if not set."
    )
    layers: Annotated[list[LayerNumber], *DISTINCT] | None = Field(
        default=None, description="Layers to keep of hidden states and attentions; negative ones count from the last."
    )


class Beside(Body):
    """What stands beside a prompt and its configuration, in the same words in every protocol that has none of its own.

    exclusive: pairs of fields of which one may be given.
    """

    exclusive: ClassVar[tuple[tuple[str, str], ...]] = (
        ("seed", "prng_key"),
        ("negative_prompt", "negative_prompt_ids"),
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
    assistant_model: Name | None = Field(
        default=None, description="Name of a draft model that the server loaded at its start."
    )
    force_words: Annotated[list[ForcedWordOrChoice], Field(min_length=1, max_length=MAX_FORCED)] | None = Field(
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
    outputs: Outputs | None = None
    priority: Priority = None
    deadline_s: Deadline = None
    cache_salt: CacheSalt = None

    @model_validator(mode="after")
    def check_pairs(self) -> Self:
        for first, second in self.exclusive:
            if getattr(self, first) is not None and getattr(self, second) is not None:
                raise PydanticCustomError(
                    ProblemCode.CONFLICT, f"{first} and {second} exclude each other; give one of them"
                )
        return self


class GenerateRequest(Beside, Conversation):
    """One prompt or several, and how to continue them."""

    not_supported = frozenset({"parameters", "decoder_inputs", "adapter"})
    exclusive = (("inputs", "messages"), *Beside.exclusive)

    # Dotted paths, and the paths in the body of another protocol that they were made from.
    _given_names: Mapping[str, str] = PrivateAttr(default_factory=dict)

    inputs: Inputs | None = Field(
        default=None, description="Text, texts, token ids or lists of them; null starts from `bos_token_id`."
    )
    generation_config: ConfigOrName | None = Field(
        default=None, description="An object, its JSON as a string, or the name of a stored configuration."
    )
    add_special_tokens: AddSpecialTokens = None
    truncate: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        default=None, description="Keep only the last so many tokens of each prompt."
    )
    copies: Beams | None = Field(
        default=None,
        description="Continue each prompt so many times, each by itself; of a `seed`, each copy has the next number.",
    )
    fill_context: bool | None = Field(
        default=None,
        description="Instead of a maximum length: go on until the context is full, or as far as the cache and the "
        "limits of a request allow. Beside `max_new_tokens`: at most so many, and no further than that.",
    )
    stream: bool | None = Field(
        default=None, description="Answer with server-sent events; also by `Accept: text/event-stream`."
    )

    @model_validator(mode="after")
    def check_special_tokens(self) -> Self:
        given = self.inputs if isinstance(self.inputs, list) else []
        has_text = (
            self.messages is not None or isinstance(self.inputs, str) or any(isinstance(one, str) for one in given)
        )
        if self.add_special_tokens and not has_text:
            message = "add_special_tokens goes with texts and messages; token ids are taken as they are"
            raise PydanticCustomError(ProblemCode.CONFLICT, "{message}", {"message": message})
        return self

    @property
    def given_names(self) -> Mapping[str, str]:
        """How the client called what stands here, where it spoke another protocol: dotted paths there by those here."""
        return self._given_names

    def given_as(self, names: Mapping[str, str]) -> Self:
        """This request, told of in these names."""
        self._given_names = names
        return self
