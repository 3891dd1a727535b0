"""Fields of a model's own file that give way to the others, so that what nobody asked for refuses no request."""

from collections.abc import Collection
from typing import Any

from beamhouse.schemas.generation.fields import GenerationFields
from beamhouse.schemas.generation.files import OUTPUT_FLAGS
from beamhouse.schemas.generation.modes import PLAIN_MODES, GenerationMode, base_mode, drafters

CACHES_WITH_OPTIONS = ("quantized", "static")


def yielding(config: GenerationFields, asked: Collection[str], has_draft_model: bool) -> dict[str, Any]:
    """New values for inherited fields that a request would be refused for, had it set them itself.

    The library passes over them, or stops where this server's results do not depend on them (the cache), or where
    the request asks for something else of the same kind (a draft model beside a drafter of the file). asked: names of
    the request's own fields. has_draft_model: whether the request names a draft model.
    """
    base = base_mode(config)
    idle = _idle_drafters(config, asked, base, has_draft_model)
    drafts = has_draft_model or len(drafters(config)) > len(idle)
    if base not in PLAIN_MODES or drafts:
        idle.append("dola_layers")
    if config.prompt_lookup_num_tokens is not None:
        idle.append("assistant_ensemble_weight")
    if config.cache_implementation not in CACHES_WITH_OPTIONS:
        idle.append("cache_config")
    if config.use_cache is False:
        idle.append("prefill_chunk_size")
    if config.eos_token_id == []:
        idle.append("exponential_decay_length_penalty")
    changes: dict[str, Any] = dict.fromkeys(idle) | _beam_changes(config, base, drafts=drafts)
    if drafts or base is GenerationMode.CONTRASTIVE_SEARCH:
        changes["use_cache"] = True
    if not config.return_dict_in_generate:
        # `generate()` then returns nothing but tokens.
        changes |= {flag: False for flag in OUTPUT_FLAGS if getattr(config, flag)}
    return {name: value for name, value in changes.items() if name not in asked}


def _beam_changes(config: GenerationFields, base: GenerationMode, *, drafts: bool) -> dict[str, Any]:
    """What becomes of groups that do not fit the beams, and of more sequences than the mode returns."""
    changes: dict[str, Any] = {}
    beams, groups, wanted = config.num_beams or 1, config.num_beam_groups or 1, config.num_return_sequences or 1
    fits = beams > 1 and not config.do_sample and not beams % groups and bool(config.diversity_penalty)
    if not fits or base is GenerationMode.CONSTRAINED_BEAM_SEARCH:
        changes["num_beam_groups"] = groups = 1
    if groups == 1:
        changes["diversity_penalty"] = None
    if drafts or (wanted > beams and (beams > 1 or not config.do_sample)):
        changes["num_return_sequences"] = 1
    return changes


def _idle_drafters(
    config: GenerationFields, asked: Collection[str], base: GenerationMode, has_draft_model: bool
) -> list[str]:
    """Of several drafters the file's first one counts, unless the request names one or asks for DoLa."""
    given = drafters(config)
    inherited = [name for name in given if name not in asked]
    is_free = (
        base in PLAIN_MODES and not has_draft_model and len(inherited) == len(given) and "dola_layers" not in asked
    )
    kept = next((name for name in inherited if name != "use_mtp"), None) if is_free else None
    return [name for name in inherited if name != kept]
