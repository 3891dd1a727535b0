"""Which GenerationConfig fields are obeyed, gathered from those who obey them, and why the others are not."""

from beamhouse.engine.decoding import modes, requested_outputs, stopping
from beamhouse.engine.logits import pipeline

OBEYED_IN_TRANSLATION = frozenset(
    {"max_length", "max_new_tokens", "bos_token_id", "eos_token_id", "pad_token_id", "token_healing"}
)
"""Obeyed before a request reaches the engine: its length, the empty prompt, the healed prompt. Answers are never
padded, which is what a padding token asks for once the padding is taken off."""

OBEYED = pipeline.FIELDS | stopping.FIELDS | requested_outputs.FIELDS | modes.FIELDS | OBEYED_IN_TRANSLATION

_CACHE = "the paged cache is the only one, and results do not depend on it"
_COMPILED = "nothing is compiled"

NOT_OBEYED: dict[str, str] = {
    **dict.fromkeys(("use_mtp", "speculation_type"), "this needs layers that draft, which no served model has"),
    "is_assistant": "it marks the configuration of a draft model, and a request is none",
    **dict.fromkeys(("use_cache", "cache_implementation", "cache_config", "max_cache_len"), _CACHE),
    **dict.fromkeys(("return_legacy_cache", "prefill_chunk_size", "continuous_batching_config"), _CACHE),
    **dict.fromkeys(("compile_config", "disable_compile"), _COMPILED),
    "decoder_start_token_id": "encoder-decoder models are not served",
    "forced_decoder_ids": "the library refuses it too",
    "generation_kwargs": "the library reads it nowhere",
}
"""A field that is not obeyed and asks for something is refused by name, with this reason."""
