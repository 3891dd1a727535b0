"""Which fields do not go together, and which have no effect beside the others."""

from collections.abc import Collection, Iterator
from itertools import chain, pairwise

from beamhouse.schemas.generation.defaults import is_neutral, only_with
from beamhouse.schemas.generation.fields import GenerationFields
from beamhouse.schemas.generation.modes import (
    OVER_PLAIN,
    PLAIN_MODES,
    GenerationMode,
    base_mode,
    done_to_plain,
    drafters,
    mode_of,
)
from beamhouse.schemas.generation.parts import DisjunctiveConstraint
from beamhouse.schemas.generation.resolved import ends_of
from beamhouse.schemas.generation.yielding import CACHES_WITH_OPTIONS
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode

Fault = tuple[str, str]

SAMPLING_FIELDS = only_with("do_sample")
BEAM_FIELDS = ("early_stopping", "length_penalty", "num_beam_groups", "diversity_penalty")
MODEL_DRAFT_FIELDS = ("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold")
ALIGNMENT_FIELDS = ("assistant_lookbehind", "target_lookbehind", "assistant_ensemble_weight")
CACHE_FIELDS = ("cache_implementation", "cache_config", "max_cache_len")
STATIC_CACHES = (
    "static",
    "offloaded_static",
    "sliding_window",
    "hybrid",
    "hybrid_chunked",
    "offloaded_hybrid",
    "offloaded_hybrid_chunked",
)


class InvalidGenerationConfig(ValueError):
    """A configuration that cannot run; `problems` holds everything wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("; ".join(problem.message for problem in problems))


def find_problems(config: GenerationFields, assistant_model: object | None, prefix: str) -> list[Problem]:
    """All combinations that cannot be obeyed: those either version of the library refuses, and those it ignores."""
    faults = (
        *_length_faults(config),
        *_count_faults(config, assistant_model),
        *_mode_faults(config, assistant_model),
        *_choice_faults(config),
        *_group_faults(config),
        *_over_plain_faults(config, assistant_model),
        *_draft_faults(config, assistant_model),
        *_cache_faults(config),
        *_forced_faults(config),
    )
    # A draft model is named beside the configuration, not in it.
    places = ((field if field == "assistant_model" else prefix + field, message) for field, message in faults)
    return [Problem(place, ProblemCode.CONFLICT, message) for place, message in places]


def _length_faults(config: GenerationFields) -> Iterator[Fault]:
    least, most = config.min_new_tokens, config.max_new_tokens
    if least is not None and most is not None and least > most:
        yield "min_new_tokens", f"min_new_tokens is {least}; allowed: at most max_new_tokens, {most}"
    least, most = config.min_length, config.max_length
    if config.max_new_tokens is None and least is not None and most is not None and least > most:
        yield "min_length", f"min_length is {least}; allowed: at most max_length, {most}"


def _count_faults(config: GenerationFields, assistant_model: object | None) -> Iterator[Fault]:
    wanted = config.num_return_sequences or 1
    if wanted == 1:
        return
    mode = mode_of(config, assistant_model)
    if mode.spec.returns_one:
        yield "num_return_sequences", f"num_return_sequences is {wanted}; allowed in {mode.spec.words}: 1"
    elif (config.num_beams or 1) == 1:
        if not config.do_sample:
            yield (
                "num_return_sequences",
                f"num_return_sequences is {wanted}; allowed without do_sample and without num_beams: 1",
            )
    elif wanted > (config.num_beams or 1):
        yield (
            "num_return_sequences",
            f"num_return_sequences is {wanted}; allowed: at most num_beams, {config.num_beams}",
        )


def _mode_faults(config: GenerationFields, assistant_model: object | None) -> Iterator[Fault]:
    """What the mode that is asked for needs, and what it does not go with."""
    base = base_mode(config)
    for wish in base.spec.asked(config, assistant_model):
        for need in base.spec.needs:
            if not need.is_asked(config, assistant_model):
                yield wish.field, f"{wish} needs {need}"
        for other in base.spec.excludes:
            if other.is_asked(config, assistant_model):
                yield wish.field, f"{wish} does not go with {other}"
    if config.use_cache is False:
        for mode in (base, *done_to_plain(config, assistant_model)):
            if mode.spec.needs_cache:
                yield "use_cache", f"use_cache is false; {mode.spec.words} needs the cache"


def _over_plain_faults(config: GenerationFields, assistant_model: object | None) -> Iterator[Fault]:
    """Modes that change greedy search and sampling go with nothing else, nor with each other."""
    base, plain = base_mode(config), " and ".join(mode.spec.words for mode in PLAIN_MODES)
    asked = {mode: wishes for mode in OVER_PLAIN if (wishes := mode.spec.asked(config, assistant_model))}
    if base not in PLAIN_MODES:
        for wish in chain.from_iterable(asked.values()):
            yield wish.field, f"{wish} goes with {plain} only; the other fields ask for {base}"
        return
    for mode, other in pairwise(asked):
        for wish in asked[mode]:
            yield wish.field, f"{wish} does not go with {other.spec.words}"


def _choice_faults(config: GenerationFields) -> Iterator[Fault]:
    for field in ("constraints", "force_words_ids"):
        if any(_has_beginning_of_another(phrases) for phrases in _choices(config, field)):
            yield field, f"{field} offers a choice in which one phrase is the beginning of another"


def _choices(config: GenerationFields, field: str) -> Iterator[list[list[int]]]:
    if field == "constraints":
        for constraint in config.constraints or []:
            if isinstance(constraint, DisjunctiveConstraint):
                yield constraint.nested_token_ids
        return
    for words in config.force_words_ids or []:
        phrases = [word for word in words if isinstance(word, list)]
        if phrases:
            yield phrases


def _has_beginning_of_another(phrases: list[list[int]]) -> bool:
    # Sorted, a phrase is followed at once by those it begins.
    ordered = sorted(phrases)
    return any(later[: len(phrase)] == phrase for phrase, later in pairwise(ordered))


def _group_faults(config: GenerationFields) -> Iterator[Fault]:
    beams, groups = config.num_beams or 1, config.num_beam_groups or 1
    if beams == 1 or base_mode(config) is GenerationMode.CONSTRAINED_BEAM_SEARCH:
        return
    if groups == 1:
        if config.diversity_penalty:
            yield "diversity_penalty", "diversity_penalty needs num_beam_groups above 1"
        return
    if beams % groups:
        yield "num_beam_groups", f"num_beam_groups is {groups}; allowed: a divisor of num_beams, {beams}"
    if not config.diversity_penalty:
        yield "diversity_penalty", "diversity_penalty is 0; allowed with num_beam_groups above 1: above 0"


def _draft_faults(config: GenerationFields, assistant_model: object | None) -> Iterator[Fault]:
    given = [] if assistant_model is None else ["assistant_model"]
    given += drafters(config)
    for field in given[1:]:
        yield field, f"{field} and {given[0]} exclude each other; one of them drafts"
    if config.assistant_ensemble_weight is not None and config.prompt_lookup_num_tokens is not None:
        yield "assistant_ensemble_weight", "assistant_ensemble_weight needs a draft model, not prompt_lookup_num_tokens"


def _cache_faults(config: GenerationFields) -> Iterator[Fault]:
    if config.cache_config is not None and config.cache_implementation not in CACHES_WITH_OPTIONS:
        yield "cache_config", "cache_config needs cache_implementation quantized or static"
    if config.prefill_chunk_size is not None and config.use_cache is False:
        yield "prefill_chunk_size", "prefill_chunk_size needs use_cache"


def _forced_faults(config: GenerationFields) -> Iterator[Fault]:
    suppressed = set(config.suppress_tokens or ())
    for field in ("forced_bos_token_id", "forced_eos_token_id"):
        forced = getattr(config, field)
        ids = {forced} if isinstance(forced, int) else set(forced or ())
        if ids and ids <= suppressed:
            yield field, f"{field} forces only tokens that suppress_tokens forbids"


def find_warnings(config: GenerationFields, asked: Collection[str] | None, assistant_model: object | None) -> list[str]:
    """Fields that have no effect beside the others, as sentences. asked: the fields to look at (None: all)."""
    mode = base_mode(config)
    idle: dict[str, str] = {}
    if not config.do_sample:
        others = (field for field in SAMPLING_FIELDS if field not in mode.spec.fields)
        idle |= dict.fromkeys(others, "do_sample is not set")
    if (config.num_beams or 1) == 1:
        idle |= dict.fromkeys(BEAM_FIELDS, "num_beams is 1")
    if mode is not GenerationMode.CONTRASTIVE_SEARCH:
        idle["penalty_alpha"] = f"it goes with greedy search and top_k above 1, and the other fields ask for {mode}"
    if config.use_cache is False:
        idle |= dict.fromkeys(CACHE_FIELDS, "use_cache is false")
    elif config.cache_implementation not in STATIC_CACHES:
        idle["max_cache_len"] = "cache_implementation is no static one"
    # Both are always set once resolved: only who knows what was asked can tell that one is idle.
    if asked is not None and config.max_new_tokens is not None:
        idle["max_length"] = "max_new_tokens wins over it"
    if asked is not None and config.min_new_tokens is not None:
        idle["min_length"] = "min_new_tokens wins over it"
    if _bans_ends_alone(config):
        idle["bad_words_ids"] = "it holds end tokens alone, which it does not ban"
    idle |= _idle_drafting(config, assistant_model)
    return [
        f"{field} has no effect: {reason}"
        for field, reason in idle.items()
        if (asked is None or field in asked) and not _is_silent(field, getattr(config, field))
    ]


def _bans_ends_alone(config: GenerationFields) -> bool:
    """Whether all of `bad_words_ids` are end tokens, which it leaves out."""
    ends = ends_of(config.eos_token_id)
    return all(len(phrase) == 1 and phrase[0] in ends for phrase in config.bad_words_ids or [])


def _idle_drafting(config: GenerationFields, assistant_model: object | None) -> dict[str, str]:
    """Fields of assisted decoding that the drafter, if there is one, does not read."""
    idle: dict[str, str] = {}
    if assistant_model is None:
        idle |= dict.fromkeys(ALIGNMENT_FIELDS, "no assistant_model drafts")
        if config.assistant_early_exit is None and not config.use_mtp:
            idle |= dict.fromkeys(MODEL_DRAFT_FIELDS, "no assistant_model drafts, nor an early exit")
    if config.prompt_lookup_num_tokens is None:
        idle["max_matching_ngram_size"] = "prompt_lookup_num_tokens is not set"
    return idle


def _is_silent(field: str, value: object) -> bool:
    return value is None if field in ("max_length", "min_length") else is_neutral(field, value)
