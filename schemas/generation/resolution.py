"""What holds where a request is silent: the model's file, then the library's defaults, then lengths as numbers."""

from typing import Any, TypeVar

from beamhouse.schemas.generation.defaults import LIBRARY_DEFAULTS
from beamhouse.schemas.generation.fields import DEFAULT_NEW_TOKENS, GenerationFields
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.generation.yielding import yielding

Config = TypeVar("Config", bound=GenerationFields)


def resolve(
    request: GenerationFields,
    model: GenerationFields,
    *,
    prompt_len: int,
    context_len: int | None,
    assistant: GenerationFields | None = None,
    assistant_model: str | None = None,
) -> Resolved:
    """The configuration that runs: what `merge` gives, with the library's defaults where nothing is said.

    assistant_model: name of the model that is to draft, whether it is there or not.
    """
    merged = merge(request, model, prompt_len=prompt_len, context_len=context_len, assistant=assistant)
    return Resolved.of(merged, assistant_model)


def resolve_unread(request: GenerationFields, prompt_len: int) -> Resolved:
    """What runs where nothing is to be generated: of all that is asked only the number of sequences has a meaning.

    There is room for one token, which is never chosen.
    """
    number = request.num_return_sequences or 1
    return Resolved.of(GenerationFields(do_sample=number > 1, num_return_sequences=number, max_length=prompt_len + 1))


def merge(
    request: Config,
    model: GenerationFields,
    *,
    prompt_len: int,
    context_len: int | None,
    assistant: GenerationFields | None = None,
) -> Config:
    """What holds: request over model file over library defaults, `max_length` always set.

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
