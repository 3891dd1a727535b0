"""What holds where a request is silent: the model's file, then the library's defaults, then lengths as numbers."""

from typing import Any, TypeVar

from beamhouse.schemas.generation.fields import GenerationFields
from beamhouse.schemas.generation.yielding import yielding

Config = TypeVar("Config", bound=GenerationFields)

DEFAULT_NEW_TOKENS = 20

LIBRARY_DEFAULTS: dict[str, Any] = dict.fromkeys(GenerationFields.model_fields) | {
    "max_length": DEFAULT_NEW_TOKENS,
    "min_length": 0,
    "early_stopping": False,
    "do_sample": False,
    "num_beams": 1,
    "num_beam_groups": 1,
    "use_cache": True,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "diversity_penalty": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "renormalize_logits": False,
    "remove_invalid_values": False,
    "token_healing": False,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "return_dict_in_generate": False,
    "encoder_no_repeat_ngram_size": 0,
    "is_assistant": False,
    "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
    "assistant_lookbehind": 10,
    "target_lookbehind": 10,
}
"""Value of each field that nobody sets. `max_length` counts from the end of the prompt here, and only here."""

# Values beside the default that ask for nothing either.
_OFF: dict[str, tuple[object, ...]] = {
    "min_new_tokens": (0,),
    "penalty_alpha": (0.0,),
    "use_mtp": (False,),
    "cache_implementation": ("dynamic",),
    "return_legacy_cache": (False,),
    "top_k": (0,),
    "min_p": (0.0,),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "forced_decoder_ids": ([],),
    "guidance_scale": (1.0,),
    "low_memory": (False,),
    "output_logits": (False,),
    "assistant_confidence_threshold": (0.0,),
    "disable_compile": (False,),
    "continuous_batching_config": ({},),
    "generation_kwargs": ({},),
}


def is_neutral(field: str, value: object) -> bool:
    """Whether this value of this field asks for nothing: unset, the library's default, or a value that means "off"."""
    return value is None or value == LIBRARY_DEFAULTS[field] or value in _OFF.get(field, ())


def resolve(
    request: Config, model: Config, *, prompt_len: int, context_len: int | None, assistant: Config | None = None
) -> Config:
    """The configuration that runs: request over model file over library defaults, `max_length` always set.

    assistant: drafting fields of the named draft model's own file, which go before those of the model's file; None
    where no model drafts. The library reads them there alone, and does nothing with those of the request.
    Equals what transformers 5.23 prepares for a batch of one, with one difference: what comes from the model's file
    alone never gets in the way of the request. Its maximum length is cut to `context_len`, and does not count where the
    prompt is as long; its minimum is cut to the maximum (where the library stops as well); fields that do not go with
    what is asked for give way (`yielding`). Nothing is checked here.
    """
    inherited, asked = model.set_fields(), request.set_fields()
    if assistant is not None:
        inherited |= assistant.set_fields()
    merged = {name: value for name, value in LIBRARY_DEFAULTS.items() if value is not None} | inherited | asked
    if merged.get("cache_implementation") == "hybrid":  # An old name of the growing cache with sliding windows.
        merged["cache_implementation"] = None
    merged["max_length"] = _max_length(inherited, asked, prompt_len, context_len)
    merged |= _min_lengths(inherited, asked, prompt_len, merged["max_length"])
    config = request.model_copy(update=merged)
    merged = yielding(config, asked, has_draft_model=assistant is not None)
    return config.model_copy(update=merged).with_extras(model.extras | request.extras)


def _max_length(inherited: dict[str, Any], asked: dict[str, Any], prompt_len: int, context_len: int | None) -> int:
    either = inherited | asked
    source = "max_new_tokens" if "max_new_tokens" in either else "max_length"
    if source == "max_new_tokens":
        limit: int = prompt_len + either["max_new_tokens"]
    else:
        limit = either.get("max_length", prompt_len + DEFAULT_NEW_TOKENS)
        if source not in asked and limit <= prompt_len:
            limit = prompt_len + DEFAULT_NEW_TOKENS
    is_bound = source not in asked and context_len is not None and prompt_len < context_len
    return min(limit, context_len) if is_bound and context_len is not None else limit


def _min_lengths(inherited: dict[str, Any], asked: dict[str, Any], prompt_len: int, max_length: int) -> dict[str, int]:
    either = inherited | asked
    if "min_new_tokens" not in either:
        least: int = either.get("min_length", 0)
        return {"min_length": least if "min_length" in asked else min(least, max_length)}
    new: int = either["min_new_tokens"]
    if "min_new_tokens" not in asked:
        new = max(0, min(new, max_length - prompt_len))
    return {"min_new_tokens": new, "min_length": prompt_len + new}
