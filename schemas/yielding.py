"""Fields of a model's own file that give way to the others, so that what nobody asked for refuses no request."""

from collections.abc import Collection
from typing import Any

from schemas.generation_fields import GenerationFields
from schemas.generation_mode import PLAIN_MODES, GenerationMode, base_mode, drafters

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
    if (config.num_beam_groups or 1) == 1:
        idle.append("diversity_penalty")
    if config.cache_implementation not in CACHES_WITH_OPTIONS:
        idle.append("cache_config")
    if config.use_cache is False:
        idle.append("prefill_chunk_size")
    changes: dict[str, Any] = {name: None for name in idle if name not in asked and getattr(config, name) is not None}
    if "use_cache" not in asked and (drafts or base is GenerationMode.CONTRASTIVE_SEARCH):
        changes["use_cache"] = True
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
