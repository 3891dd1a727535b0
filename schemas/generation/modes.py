"""Which decoding mode a configuration asks for."""

from enum import StrEnum

from beamhouse.schemas.generation.fields import GenerationFields


class GenerationMode(StrEnum):
    """The decoding modes of `generate()`."""

    GREEDY_SEARCH = "greedy_search"
    SAMPLE = "sample"
    BEAM_SEARCH = "beam_search"
    BEAM_SAMPLE = "beam_sample"
    GROUP_BEAM_SEARCH = "group_beam_search"
    CONSTRAINED_BEAM_SEARCH = "constrained_beam_search"
    CONTRASTIVE_SEARCH = "contrastive_search"
    DOLA_GENERATION = "dola_generation"
    ASSISTED_GENERATION = "assisted_generation"


TELLING_FIELDS: dict[GenerationMode, tuple[str, ...]] = {
    GenerationMode.CONSTRAINED_BEAM_SEARCH: ("constraints", "force_words_ids"),
    GenerationMode.GROUP_BEAM_SEARCH: ("num_beam_groups", "num_beams"),
    GenerationMode.BEAM_SAMPLE: ("num_beams", "do_sample"),
    GenerationMode.BEAM_SEARCH: ("num_beams",),
    GenerationMode.ASSISTED_GENERATION: (
        "assistant_model",
        "prompt_lookup_num_tokens",
        "assistant_early_exit",
        "use_mtp",
    ),
    GenerationMode.DOLA_GENERATION: ("dola_layers",),
    GenerationMode.CONTRASTIVE_SEARCH: ("penalty_alpha", "top_k"),
    GenerationMode.SAMPLE: ("do_sample",),
    GenerationMode.GREEDY_SEARCH: (),
}
"""The fields that ask for each mode; `assistant_model` stands beside the configuration."""

PLAIN_MODES = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)
"""The modes that drafts and `dola_layers` go with."""

DRAFTERS = ("assistant_early_exit", "prompt_lookup_num_tokens", "use_mtp")
"""The fields that each ask for a drafter, the one first that the library would take of several."""

BEAM_MODES = frozenset(
    {
        GenerationMode.BEAM_SEARCH,
        GenerationMode.BEAM_SAMPLE,
        GenerationMode.CONSTRAINED_BEAM_SEARCH,
        GenerationMode.GROUP_BEAM_SEARCH,
    }
)
"""The modes that search with beams: what they return is known at the end."""


def base_mode(config: GenerationFields) -> GenerationMode:
    """The mode before drafts and contrasted layers are looked at."""
    if config.constraints is not None or config.force_words_ids is not None:
        return GenerationMode.CONSTRAINED_BEAM_SEARCH
    if config.num_beams is None or config.num_beams == 1:
        if config.do_sample:
            return GenerationMode.SAMPLE
        is_contrastive = (config.top_k or 0) > 1 and (config.penalty_alpha or 0) > 0
        return GenerationMode.CONTRASTIVE_SEARCH if is_contrastive else GenerationMode.GREEDY_SEARCH
    if (config.num_beam_groups or 1) > 1:
        return GenerationMode.GROUP_BEAM_SEARCH
    return GenerationMode.BEAM_SAMPLE if config.do_sample else GenerationMode.BEAM_SEARCH


def wants_draft(config: GenerationFields, assistant_model: object | None = None) -> bool:
    """Whether something is to draft tokens: a model, the prompt, own layers."""
    return assistant_model is not None or bool(drafters(config))


def drafters(config: GenerationFields) -> list[str]:
    """The fields that each ask for a drafter."""
    return [name for name in DRAFTERS if getattr(config, name) not in (None, False)]


def mode_of(config: GenerationFields, assistant_model: object | None = None) -> GenerationMode:
    """The mode that runs; drafts and `dola_layers` change greedy and sample alone, as in 5.23."""
    mode = base_mode(config)
    if wants_draft(config, assistant_model) and mode in PLAIN_MODES:
        mode = GenerationMode.ASSISTED_GENERATION
    if config.dola_layers is not None and mode in PLAIN_MODES:
        mode = GenerationMode.DOLA_GENERATION
    return mode


def row_field(mode: GenerationMode) -> str:
    """The field that says how many rows of a step a prompt takes."""
    if mode in BEAM_MODES:
        return "num_beams"
    return "top_k" if mode is GenerationMode.CONTRASTIVE_SEARCH else "num_return_sequences"
