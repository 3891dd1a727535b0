"""The fields of `generate()`, and what stands in them.

Made from the server's own words by `python -m benchmarks.house.client_shapes`; not to be edited.
"""

from typing import Any, Literal, NotRequired, TypedDict


class CacheConfig(TypedDict, total=False):
    """Options of the cache that `cache_implementation` names."""

    backend: Literal["quanto", "HQQ", "hqq", "fp8"] | None
    nbits: Literal[1, 2, 3, 4, 8] | None
    axis_key: Literal[0, 1, -1] | None
    axis_value: Literal[0, 1, -1] | None
    q_group_size: int | None
    residual_length: int | None
    compute_dtype: str | None
    device: str | None
    batch_size: int | None
    max_cache_len: int | None


class PhrasalConstraint(TypedDict):
    """The output must hold this phrase."""

    type: NotRequired[Literal["phrasal"]]
    token_ids: list[int]


class DisjunctiveConstraint(TypedDict):
    """The output must hold one of these phrases."""

    type: NotRequired[Literal["disjunctive"]]
    nested_token_ids: list[list[int]]


class OrderedConstraint(TypedDict):
    """The output must hold these phrases in this order, with anything between them."""

    type: NotRequired[Literal["ordered"]]
    phrases: list[list[int]]


class WatermarkingConfig(TypedDict, total=False):
    """Adds `bias` to a pseudo-random green part of the vocabulary in each step. Source: arXiv:2306.04634."""

    greenlist_ratio: float
    bias: float
    hashing_key: int
    seeding_scheme: Literal["lefthash", "selfhash"]
    context_width: int


class SynthIDTextWatermarkingConfig(TypedDict):
    """Marks sampled text by a tournament between candidates. Source: doi:10.1038/s41586-024-08025-4."""

    ngram_len: int
    keys: list[int]
    sampling_table_size: NotRequired[int]
    sampling_table_seed: NotRequired[int]
    context_history_size: NotRequired[int]
    skip_first_ngram_calls: NotRequired[bool]
    debug_mode: NotRequired[bool]


class CompileConfig(TypedDict, total=False):
    """Options of `torch.compile` for the decoding forward pass."""

    fullgraph: bool | None
    dynamic: bool | None
    backend: str | None
    mode: str | None
    options: dict[str, Any] | None


class GenerationConfig(TypedDict, total=False):
    """Every parameter of a generation; a request wins over the model's file, the file over the library's defaults."""

    max_length: int | None
    max_new_tokens: int | None
    min_length: int | None
    min_new_tokens: int | None
    early_stopping: bool | Literal["never"] | None
    max_time: float | None
    stop_strings: str | list[str] | None
    do_sample: bool | None
    num_beams: int | None
    num_beam_groups: int | None
    penalty_alpha: float | None
    dola_layers: Literal["low", "high"] | list[int] | None
    use_mtp: bool | None
    use_cache: bool | None
    cache_implementation: (
        Literal[
            "dynamic",
            "static",
            "offloaded",
            "offloaded_static",
            "quantized",
            "paged",
            "sliding_window",
            "hybrid",
            "hybrid_chunked",
            "offloaded_hybrid",
            "offloaded_hybrid_chunked",
            "mamba",
        ]
        | None
    )
    cache_config: CacheConfig | None
    return_legacy_cache: bool | None
    max_cache_len: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    top_h: float | None
    typical_p: float | None
    epsilon_cutoff: float | None
    eta_cutoff: float | None
    diversity_penalty: float | None
    repetition_penalty: float | None
    encoder_repetition_penalty: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    length_penalty: float | None
    no_repeat_ngram_size: int | None
    bad_words_ids: list[list[int]] | None
    force_words_ids: list[list[int] | list[list[int]]] | None
    renormalize_logits: bool | None
    constraints: list[PhrasalConstraint | DisjunctiveConstraint | OrderedConstraint] | None
    forced_bos_token_id: int | None
    forced_eos_token_id: int | list[int] | None
    remove_invalid_values: bool | None
    exponential_decay_length_penalty: tuple[int, float] | None
    suppress_tokens: list[int] | None
    begin_suppress_tokens: list[int] | None
    forced_decoder_ids: list[tuple[int, int | None]] | None
    sequence_bias: list[tuple[list[int], float]] | None
    token_healing: bool | None
    guidance_scale: float | None
    low_memory: bool | None
    watermarking_config: WatermarkingConfig | SynthIDTextWatermarkingConfig | str | None
    num_return_sequences: int | None
    output_attentions: bool | None
    output_hidden_states: bool | None
    output_scores: bool | None
    output_logits: bool | None
    return_dict_in_generate: bool | None
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_id: int | list[int] | None
    encoder_no_repeat_ngram_size: int | None
    decoder_start_token_id: int | list[int] | None
    is_assistant: bool | None
    num_assistant_tokens: int | None
    num_assistant_tokens_schedule: Literal["constant", "heuristic", "heuristic_transient"] | None
    assistant_confidence_threshold: float | None
    prompt_lookup_num_tokens: int | None
    max_matching_ngram_size: int | None
    assistant_early_exit: int | None
    assistant_lookbehind: int | None
    target_lookbehind: int | None
    assistant_ensemble_weight: float | None
    speculation_type: Literal["dflash"] | None
    compile_config: CompileConfig | None
    disable_compile: bool | None
    prefill_chunk_size: int | None
    continuous_batching_config: dict[str, Any] | None
    generation_kwargs: dict[str, Any] | None
