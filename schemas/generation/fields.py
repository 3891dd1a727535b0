"""Every parameter of a generation, declared once. None means "not set"."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from beamhouse.schemas.generation.bounds import (
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
from beamhouse.schemas.words import ProblemCode


class GenerationFields(BaseModel):
    """The fields of the library's `GenerationConfig`, those of 4.45 and of 5.23 together, in the library's groups."""

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
    max_length: AtLeastOne | None = None
    """Most tokens of the whole sequence, prompt included. Unset: 20 after the prompt. `max_new_tokens` wins over it."""
    max_new_tokens: AtLeastOne | None = None
    """Most tokens after the prompt."""
    min_length: AtLeastZero | None = None
    """The sequence, prompt included, cannot end before it has this many tokens."""
    min_new_tokens: AtLeastZero | None = None
    """The sequence cannot end before this many tokens after the prompt; wins over `min_length`."""
    early_stopping: bool | Literal["never"] | None = None
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
    do_sample: bool | None = None
    """Draw each token from the processed distribution instead of taking the best."""
    num_beams: Beams | None = None
    """Hypotheses kept for the prompt; 1 is no beam search."""
    num_beam_groups: Beams | None = None
    """Groups of a diverse beam search; divides `num_beams`."""
    penalty_alpha: Share | None = None
    """Contrastive search: weight of the similarity to earlier tokens; 0 is off."""
    dola_layers: Literal["low", "high"] | Layers | None = None
    """DoLa: early layers whose prediction is contrasted with the last one's; a half of them, or their numbers."""
    use_mtp: bool | None = None
    """Draft with the model's own multi-token prediction layers."""

    # Cache
    use_cache: bool | None = None
    """Keep keys and values between steps."""
    cache_implementation: CacheImplementation | None = None
    """Kind of cache."""
    cache_config: CacheConfig | None = None
    """Options of that cache."""
    return_legacy_cache: bool | None = None
    """Hand the cache back as tuples (4.x)."""
    max_cache_len: AtLeastOne | None = None
    """Positions reserved in a static cache (5.x)."""

    # Scores
    temperature: Temperature | None = None
    """Divides the scores of a sampled step; from 1e-6 to 1e6. For greedy decoding set `do_sample` to false."""
    top_k: AtLeastZero | None = None
    """Sampling keeps the k best tokens, 0 is off; in contrastive search the number of candidates."""
    top_p: Share | None = None
    """Sampling keeps the likeliest tokens that together reach this probability, at least one; 1 is off."""
    min_p: Share | None = None
    """Sampling drops tokens less likely than this share of the likeliest one's probability; 0 is off."""
    top_h: ShareAboveZero | None = None
    """Sampling keeps the likeliest tokens whose entropy stays within this share of the whole."""
    typical_p: ShareAboveZero | None = None
    """Sampling keeps the tokens of most typical surprise that together reach this probability; 1 is off."""
    epsilon_cutoff: ShareBelowOne | None = None
    """Sampling drops tokens below this probability; 0 is off."""
    eta_cutoff: ShareBelowOne | None = None
    """Sampling drops tokens below a probability that shrinks with the entropy; 0 is off."""
    diversity_penalty: Annotated[float, Field(ge=0, le=1e3)] | None = None
    """Diverse beam search: taken from a token's score for each earlier group's beam that chose it in this step."""
    repetition_penalty: Penalty | None = None
    """Above 1 makes tokens of the sequence less likely, below 1 likelier; from 0.001 to 1000, 1 is off."""
    encoder_repetition_penalty: Penalty | None = None
    """Above 1 makes tokens of the input likelier; from 0.001 to 1000, 1 is off."""
    length_penalty: Annotated[float, Field(ge=-10, le=10)] | None = None
    """Beams: score is divided by length to this power; above 0 favours longer ones."""
    no_repeat_ngram_size: AtLeastZero | None = None
    """N-grams of this size may not occur twice; 0 is off."""
    bad_words_ids: Phrases | None = None
    """Token sequences that may not be generated."""
    force_words_ids: Annotated[list[Phrase | Phrases], Field(fail_fast=True, min_length=1, max_length=256)] | None = (
        None
    )
    """Phrases the output must hold; a list of phrases in a phrase's place is a choice between them."""
    renormalize_logits: bool | None = None
    """Apply log-softmax after all processors."""
    constraints: Annotated[list[AnyConstraint], Field(fail_fast=True, min_length=1, max_length=256)] | None = None
    """What the output of a constrained beam search must hold, before `force_words_ids`."""
    forced_bos_token_id: TokenId | None = None
    """The token forced after a sequence of one token."""
    forced_eos_token_id: TokenId | SomeTokenIds | None = None
    """The token, or tokens, forced at the last position that `max_length` allows."""
    remove_invalid_values: bool | None = None
    """Replace NaN and infinities in the scores by numbers."""
    exponential_decay_length_penalty: Decay | None = None
    """`[start, factor]`: the end becomes likelier by factor to the power of the tokens past start; 0.01 to 100."""
    suppress_tokens: TokenIds | None = None
    """Tokens that are never generated."""
    begin_suppress_tokens: TokenIds | None = None
    """Tokens that are not generated first."""
    forced_decoder_ids: Annotated[list[ForcedPair], Field(fail_fast=True, max_length=1024)] | None = None
    """Pairs of position and token to force (4.x)."""
    sequence_bias: SequenceBias | None = None
    """`[[token ids], bias]` pairs: bias added to the last token when those before it are in place; up to 1e9."""
    token_healing: bool | None = None
    """Cut the last prompt token and generate it anew, so that a cut-off word can be completed."""
    guidance_scale: Weight | None = None
    """Classifier-free guidance: how far to move from the unconditional prediction; 1 is off, -1000 to 1000."""
    low_memory: bool | None = None
    """Trade speed for memory in beam and contrastive search; the tokens stay the same."""
    watermarking_config: Watermark | None = None
    """How to mark the text: options of a watermark, or the name of one the server keeps."""

    # Outputs
    num_return_sequences: Beams | None = None
    """Sequences returned for the prompt."""
    output_attentions: bool | None = None
    """Return the attention weights."""
    output_hidden_states: bool | None = None
    """Return the hidden states."""
    output_scores: bool | None = None
    """Return the processed scores of each step."""
    output_logits: bool | None = None
    """Return the model's own scores of each step."""
    return_dict_in_generate: bool | None = None
    """Return an object with scores and more beside the tokens."""

    # Special tokens
    pad_token_id: TokenId | None = None
    """Fills rows that have ended."""
    bos_token_id: TokenId | None = None
    """The prompt when there is none."""
    eos_token_id: TokenId | SomeTokenIds | None = None
    """The token, or tokens, that end a sequence."""

    # Encoder-decoder models
    encoder_no_repeat_ngram_size: AtLeastZero | None = None
    """N-grams of this size in the input may not occur in the output; 0 is off."""
    decoder_start_token_id: TokenId | SomeTokenIds | None = None
    """First token of the decoder, one for all or one for each row."""

    # Assisted decoding
    is_assistant: bool | None = None
    """Marks the configuration of a draft model."""
    num_assistant_tokens: DraftTokens | None = None
    """Tokens drafted before each check."""
    num_assistant_tokens_schedule: Literal["constant", "heuristic", "heuristic_transient"] | None = None
    """How the number of drafted tokens changes with success."""
    assistant_confidence_threshold: Share | None = None
    """The draft ends after a token less likely than this; 0 is off."""
    prompt_lookup_num_tokens: DraftTokens | None = None
    """Draft up to this many tokens by copying what followed an earlier occurrence of the last n-gram."""
    max_matching_ngram_size: AtLeastOne | None = None
    """Longest n-gram looked up in the prompt. Unset: 2."""
    assistant_early_exit: AtLeastOne | None = None
    """Draft with this many first layers of the model itself (5.x)."""
    assistant_lookbehind: AtLeastOne | None = None
    """Draft tokens looked at when two tokenizers are aligned (5.x)."""
    target_lookbehind: AtLeastOne | None = None
    """Target tokens looked at when two tokenizers are aligned (5.x)."""
    assistant_ensemble_weight: InnerShare | None = None
    """Check drafts against a mix of both models with this weight of the main one (5.x)."""
    speculation_type: Literal["dflash"] | None = None
    """A special way of drafting (5.x)."""

    # Performance
    compile_config: CompileConfig | None = None
    """Options of the compiler (5.x)."""
    disable_compile: bool | None = None
    """Never compile (5.x)."""
    prefill_chunk_size: AtLeastOne | None = None
    """Feed the prompt in pieces of this many tokens (5.x)."""
    continuous_batching_config: dict[str, JsonValue] | None = None
    """Former place of continuous batching options (5.x)."""

    # Wild card
    generation_kwargs: dict[str, JsonValue] | None = None
    """Kept and read by nothing (4.x)."""

    def set_fields(self) -> dict[str, Any]:
        """The fields that are set, by name."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}

    @property
    def extras(self) -> dict[str, Any]:
        """Attributes a file held that are no fields of generation."""
        return self._extras

    def with_extras(self, extras: dict[str, Any]) -> Self:
        """This configuration, holding these extra attributes instead of its own."""
        self._extras = extras
        return self
