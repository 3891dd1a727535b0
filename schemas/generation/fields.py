"""Every parameter of a generation, declared once: type, bounds, meaning, default. None means "not set"."""

from typing import Annotated, Any, Generic, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.generation.bounds import (
    FORCED,
    MAX_FIELDS,
    MAX_STOP_STRINGS,
    AtLeastOne,
    AtLeastZero,
    Beams,
    DraftTokens,
    InnerShare,
    Penalty,
    Phrase,
    Phrases,
    Seconds,
    Share,
    ShareAboveZero,
    ShareBelowOne,
    SomeTokenIds,
    StopString,
    Surcharge,
    TokenId,
    TokenIds,
    Weight,
)
from beamhouse.schemas.generation.parts import (
    AnyConstraint,
    CacheConfig,
    CacheImplementation,
    CompileConfig,
    Decay,
    ForcedPair,
    Layers,
    SequenceBias,
    Temperature,
    Watermark,
)
from beamhouse.schemas.generation.silence import UNSET, Default, Silent
from beamhouse.schemas.words import ProblemCode

DEFAULT_NEW_TOKENS = 20


class DeclaredFields(BaseModel, Generic[Silent]):
    """The fields of the library's `GenerationConfig`, those of 4.45 and of 5.23 together, in the library's groups.

    Some among them are ours alone, as their `Default` says. A field without a default may be None at any time; one with
    a default only until it is resolved.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, validate_assignment=True, use_attribute_docstrings=True
    )

    # What a file held beside the fields: models keep language and task ids there. A request cannot set these.
    _extras: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _refuse_crowds(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and len(fields) > MAX_FIELDS:
            raise PydanticCustomError(ProblemCode.OUT_OF_RANGE, f"{len(fields)} fields; allowed: at most {MAX_FIELDS}")
        return fields

    # Length and stopping
    max_length: Annotated[AtLeastOne | Silent, Default(DEFAULT_NEW_TOKENS)] = UNSET
    """Most tokens of the whole sequence, prompt included. Unset: 20 after the prompt. `max_new_tokens` wins over it."""
    max_new_tokens: AtLeastOne | None = None
    """Most tokens after the prompt."""
    min_length: Annotated[AtLeastZero | Silent, Default(0)] = UNSET
    """The sequence, prompt included, cannot end before it has this many tokens."""
    min_new_tokens: Annotated[AtLeastZero | None, Default(off=(0,))] = None
    """The sequence cannot end before this many tokens after the prompt; wins over `min_length`."""
    early_stopping: Annotated[bool | Literal["never"] | Silent, Default(False)] = UNSET
    """Beams: true ends at `num_beams` finished ones, false when a better one is unlikely, "never" if impossible."""
    max_time: Seconds | None = None
    """Seconds from the first step on after which no further step starts; the one under way is finished."""
    stop_strings: (
        StopString
        | Annotated[list[StopString], Field(fail_fast=True, min_length=1, max_length=MAX_STOP_STRINGS)]
        | None
    ) = None
    """Text, or texts, after which a sequence ends; they stay in the output."""

    # Strategy
    do_sample: Annotated[bool | Silent, Default(False)] = UNSET
    """Draw each token from the processed distribution instead of taking the best."""
    num_beams: Annotated[Beams | Silent, Default(1)] = UNSET
    """Hypotheses kept for the prompt; 1 is no beam search."""
    num_beam_groups: Annotated[Beams | Silent, Default(1)] = UNSET
    """Groups of a diverse beam search; divides `num_beams`."""
    penalty_alpha: Annotated[Share | None, Default(off=(0.0,))] = None
    """Contrastive search: weight of the similarity to earlier tokens; 0 is off."""
    dola_layers: Literal["low", "high"] | Layers | None = None
    """DoLa: early layers whose prediction is contrasted with the last one's; a half of them, or their numbers."""
    use_mtp: Annotated[bool | None, Default(off=(False,))] = None
    """Draft with the model's own multi-token prediction layers."""

    # Cache
    use_cache: Annotated[bool | Silent, Default(True)] = UNSET
    """Keep keys and values between steps."""
    cache_implementation: Annotated[CacheImplementation | None, Default(off=("dynamic",))] = None
    """Kind of cache."""
    cache_config: CacheConfig | None = None
    """Options of that cache."""
    return_legacy_cache: Annotated[bool | None, Default(off=(False,))] = None
    """Hand the cache back as tuples (4.x)."""
    max_cache_len: AtLeastOne | None = None
    """Positions reserved in a static cache (5.x)."""

    # Scores
    temperature: Annotated[Temperature | Silent, Default(1.0, only="do_sample")] = UNSET
    """Divides the scores of a sampled step; from 1e-6 to 1e6. For greedy decoding set `do_sample` to false."""
    top_k: Annotated[AtLeastZero | Silent, Default(50, off=(0,), only="do_sample")] = UNSET
    """Sampling keeps the k best tokens, 0 is off; in contrastive search the number of candidates."""
    top_p: Annotated[Share | Silent, Default(1.0, only="do_sample")] = UNSET
    """Sampling keeps the likeliest tokens that together reach this probability, at least one; 1 is off."""
    min_p: Annotated[Share | None, Default(off=(0.0,), only="do_sample")] = None
    """Sampling drops tokens less likely than this share of the likeliest one's probability; 0 is off."""
    top_h: Annotated[ShareAboveZero | None, Default(only="do_sample")] = None
    """Sampling keeps the likeliest tokens whose entropy stays within this share of the whole."""
    typical_p: Annotated[ShareAboveZero | Silent, Default(1.0, only="do_sample")] = UNSET
    """Sampling keeps the tokens of most typical surprise that together reach this probability; 1 is off."""
    epsilon_cutoff: Annotated[ShareBelowOne | Silent, Default(0.0, only="do_sample")] = UNSET
    """Sampling drops tokens below this probability; 0 is off."""
    eta_cutoff: Annotated[ShareBelowOne | Silent, Default(0.0, only="do_sample")] = UNSET
    """Sampling drops tokens below a probability that shrinks with the entropy; 0 is off."""
    diversity_penalty: Annotated[Annotated[float, Field(ge=0, le=1e3)] | Silent, Default(0.0)] = UNSET
    """Diverse beam search: taken from a token's score for each earlier group's beam that chose it in this step."""
    repetition_penalty: Annotated[Penalty | Silent, Default(1.0)] = UNSET
    """Above 1 makes tokens of the sequence less likely, below 1 likelier; from 0.001 to 1000, 1 is off."""
    encoder_repetition_penalty: Annotated[Penalty | Silent, Default(1.0)] = UNSET
    """Above 1 makes tokens of the input likelier; from 0.001 to 1000, 1 is off."""
    frequency_penalty: Annotated[Surcharge | Silent, Default(0.0, is_ours=True)] = UNSET
    """Taken from a token's score for each time that it was generated; from -2 to 2, 0 is off. Not in the library."""
    presence_penalty: Annotated[Surcharge | Silent, Default(0.0, is_ours=True)] = UNSET
    """Taken from the score of each token that was generated at all; from -2 to 2, 0 is off. Not in the library."""
    length_penalty: Annotated[Annotated[float, Field(ge=-10, le=10)] | Silent, Default(1.0)] = UNSET
    """Beams: score is divided by length to this power; above 0 favours longer ones."""
    no_repeat_ngram_size: Annotated[AtLeastZero | Silent, Default(0)] = UNSET
    """N-grams of this size may not occur twice; 0 is off."""
    bad_words_ids: Phrases | None = None
    """Token sequences that may not be generated."""
    force_words_ids: Annotated[list[Phrase | Phrases], FORCED] | None = None
    """Phrases the output must hold; a list of phrases in a phrase's place is a choice between them."""
    renormalize_logits: Annotated[bool | Silent, Default(False)] = UNSET
    """Apply log-softmax after all processors."""
    constraints: Annotated[list[AnyConstraint], FORCED] | None = None
    """What the output of a constrained beam search must hold, before `force_words_ids`."""
    forced_bos_token_id: TokenId | None = None
    """The token forced after a sequence of one token."""
    forced_eos_token_id: TokenId | SomeTokenIds | None = None
    """The token, or tokens, forced at the last position that `max_length` allows."""
    remove_invalid_values: Annotated[bool | Silent, Default(False)] = UNSET
    """Replace NaN and infinities in the scores by numbers."""
    exponential_decay_length_penalty: Decay | None = None
    """`[start, factor]`: the end becomes likelier by factor to the power of the tokens past start; 0.01 to 100."""
    suppress_tokens: Annotated[TokenIds | None, Default(off=([],))] = None
    """Tokens that are never generated."""
    begin_suppress_tokens: Annotated[TokenIds | None, Default(off=([],))] = None
    """Tokens that are not generated first."""
    forced_decoder_ids: Annotated[
        Annotated[list[ForcedPair], Field(fail_fast=True, max_length=1024)] | None, Default(off=([],))
    ] = None
    """Pairs of position and token to force (4.x)."""
    sequence_bias: SequenceBias | None = None
    """`[[token ids], bias]` pairs: bias added to the last token when those before it are in place; up to 1e9."""
    token_healing: Annotated[bool | Silent, Default(False)] = UNSET
    """Cut the last prompt token and generate it anew, so that a cut-off word can be completed."""
    guidance_scale: Annotated[Weight | None, Default(off=(1.0,))] = None
    """Classifier-free guidance: how far to move from the unconditional prediction; 1 is off, -1000 to 1000."""
    low_memory: Annotated[bool | None, Default(off=(False,))] = None
    """Trade speed for memory in beam and contrastive search; the tokens stay the same."""
    watermarking_config: Watermark | None = None
    """How to mark the text: options of a watermark, or the name of one the server keeps."""

    # Outputs
    num_return_sequences: Annotated[Beams | Silent, Default(1)] = UNSET
    """Sequences returned for the prompt."""
    output_attentions: Annotated[bool | Silent, Default(False)] = UNSET
    """Return the attention weights."""
    output_hidden_states: Annotated[bool | Silent, Default(False)] = UNSET
    """Return the hidden states."""
    output_scores: Annotated[bool | Silent, Default(False)] = UNSET
    """Return the processed scores of each step."""
    output_logits: Annotated[bool | None, Default(off=(False,))] = None
    """Return the model's own scores of each step."""
    return_dict_in_generate: Annotated[bool | Silent, Default(False)] = UNSET
    """Return an object with scores and more beside the tokens."""

    # Special tokens
    pad_token_id: TokenId | None = None
    """Fills rows that have ended."""
    bos_token_id: TokenId | None = None
    """The prompt when there is none."""
    eos_token_id: TokenId | TokenIds | None = None
    """The token, or tokens, that end a sequence; with an empty list none does."""

    # Encoder-decoder models
    encoder_no_repeat_ngram_size: Annotated[AtLeastZero | Silent, Default(0)] = UNSET
    """N-grams of this size in the input may not occur in the output; 0 is off."""
    decoder_start_token_id: TokenId | SomeTokenIds | None = None
    """First token of the decoder, one for all or one for each row."""

    # Assisted decoding
    is_assistant: Annotated[bool | Silent, Default(False)] = UNSET
    """Marks the configuration of a draft model."""
    num_assistant_tokens: Annotated[DraftTokens | Silent, Default(20)] = UNSET
    """Tokens drafted before each check."""
    num_assistant_tokens_schedule: Annotated[
        Literal["constant", "heuristic", "heuristic_transient"] | Silent, Default("constant")
    ] = UNSET
    """How the number of drafted tokens changes with success."""
    assistant_confidence_threshold: Annotated[Share | Silent, Default(0.4, off=(0.0,))] = UNSET
    """The draft ends after a token less likely than this; 0 is off."""
    prompt_lookup_num_tokens: DraftTokens | None = None
    """Draft up to this many tokens by copying what followed an earlier occurrence of the last n-gram."""
    max_matching_ngram_size: AtLeastOne | None = None
    """Longest n-gram looked up in the prompt. Unset: 2."""
    assistant_early_exit: AtLeastOne | None = None
    """Draft with this many first layers of the model itself (5.x)."""
    assistant_lookbehind: Annotated[AtLeastOne | Silent, Default(10)] = UNSET
    """Draft tokens looked at when two tokenizers are aligned (5.x)."""
    target_lookbehind: Annotated[AtLeastOne | Silent, Default(10)] = UNSET
    """Target tokens looked at when two tokenizers are aligned (5.x)."""
    assistant_ensemble_weight: InnerShare | None = None
    """Check drafts against a mix of both models with this weight of the main one (5.x)."""
    speculation_type: Literal["dflash"] | None = None
    """A special way of drafting (5.x)."""

    # Performance
    compile_config: CompileConfig | None = None
    """Options of the compiler (5.x)."""
    disable_compile: Annotated[bool | None, Default(off=(False,))] = None
    """Never compile (5.x)."""
    prefill_chunk_size: AtLeastOne | None = None
    """Feed the prompt in pieces of this many tokens (5.x)."""
    continuous_batching_config: Annotated[dict[str, JsonValue] | None, Default(off=({},))] = None
    """Former place of continuous batching options (5.x)."""

    # Wild card
    generation_kwargs: Annotated[dict[str, JsonValue] | None, Default(off=({},))] = None
    """Kept and read by nothing (4.x)."""

    def set_fields(self) -> dict[str, Any]:
        """The fields that are set, by name."""
        return {name: value for name in DeclaredFields.model_fields if (value := getattr(self, name)) is not None}

    @property
    def extras(self) -> dict[str, Any]:
        """Attributes a file held that are no fields of generation."""
        return self._extras

    def with_extras(self, extras: dict[str, Any]) -> Self:
        """This configuration, holding these extra attributes instead of its own."""
        self._extras = extras
        return self


GenerationFields = DeclaredFields[None]
"""The fields as they are asked for: None where nobody sets one."""
