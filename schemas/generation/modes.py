"""The decoding modes in one table: which fields ask for each, and what each of them goes with."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from beamhouse.schemas.generation.fields import GenerationFields


@dataclass(frozen=True, slots=True)
class Wish:
    """Something that a field asks for. off: values that do not. words: the wish in a sentence; empty: the field."""

    field: str
    off: tuple[object, ...] = ()
    words: str = ""

    def __str__(self) -> str:
        return self.words or self.field

    def is_asked(self, config: GenerationFields, assistant_model: object | None) -> bool:
        """Whether the field asks for it. A draft model is named beside the configuration."""
        value = assistant_model if self.field == "assistant_model" else getattr(config, self.field)
        return value is not None and value not in self.off


SAMPLING = Wish("do_sample", off=(False,))
BEAMS = Wish("num_beams", off=(1,), words="num_beams above 1")
GROUPS = Wish("num_beam_groups", off=(1,), words="num_beam_groups above 1")
CANDIDATES = Wish("top_k", off=(0, 1))
DRAFTERS = (
    Wish("assistant_model"),
    Wish("prompt_lookup_num_tokens"),
    Wish("assistant_early_exit"),
    Wish("use_mtp", off=(False,)),
)
PLAIN = ("greedy_search", "sample")


@dataclass(frozen=True, slots=True)
class ModeSpec:
    """What is known of a mode before anything runs.

    words: what it is called in a sentence. wishes: one of them asks for it, together with all of `beside`. over: the
    modes it takes the place of; empty: of all before it. needs, excludes: what its wishes go with, and do not go with.
    row_field: says how many rows of a step a prompt takes. is_search: with beams; what it returns is known at the end.
    """

    words: str
    wishes: tuple[Wish, ...] = ()
    beside: tuple[Wish, ...] = ()
    over: tuple[str, ...] = ()
    needs: tuple[Wish, ...] = ()
    excludes: tuple[Wish, ...] = ()
    row_field: str = "num_return_sequences"
    is_search: bool = False
    needs_cache: bool = False
    returns_one: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """Those that ask for it."""
        return tuple(wish.field for wish in (*self.wishes, *self.beside))

    def asked(self, config: GenerationFields, assistant_model: object | None) -> list[Wish]:
        """The wishes for this mode that the fields hold; whether it is the one that runs, others may decide."""
        if not all(wish.is_asked(config, assistant_model) for wish in self.beside):
            return []
        return [wish for wish in self.wishes if wish.is_asked(config, assistant_model)]


class GenerationMode(StrEnum):
    """The decoding modes of `generate()`, each with its `spec`."""

    spec: ModeSpec

    def __new__(cls, mode: str, spec: ModeSpec = ModeSpec("")) -> Self:
        member = str.__new__(cls, mode)
        member._value_ = mode
        member.spec = spec
        return member

    GREEDY_SEARCH = "greedy_search", ModeSpec("greedy search")
    SAMPLE = "sample", ModeSpec("sampling", wishes=(SAMPLING,))
    BEAM_SEARCH = (
        "beam_search",
        ModeSpec("beam search", wishes=(BEAMS,), row_field="num_beams", is_search=True),
    )
    BEAM_SAMPLE = (
        "beam_sample",
        ModeSpec("drawn beams", wishes=(BEAMS,), beside=(SAMPLING,), row_field="num_beams", is_search=True),
    )
    GROUP_BEAM_SEARCH = (
        "group_beam_search",
        ModeSpec(
            "diverse groups",
            wishes=(GROUPS,),
            beside=(BEAMS,),
            excludes=(SAMPLING,),
            row_field="num_beams",
            is_search=True,
        ),
    )
    CONSTRAINED_BEAM_SEARCH = (
        "constrained_beam_search",
        ModeSpec(
            "constrained beams",
            wishes=(Wish("constraints"), Wish("force_words_ids")),
            needs=(BEAMS,),
            excludes=(SAMPLING, GROUPS),
            row_field="num_beams",
            is_search=True,
        ),
    )
    CONTRASTIVE_SEARCH = (
        "contrastive_search",
        ModeSpec(
            "contrastive search",
            wishes=(Wish("penalty_alpha", off=(0,)),),
            beside=(CANDIDATES,),
            over=("greedy_search",),
            row_field="top_k",
            needs_cache=True,
        ),
    )
    DOLA_GENERATION = "dola_generation", ModeSpec("DoLa", wishes=(Wish("dola_layers"),), over=PLAIN)
    ASSISTED_GENERATION = (
        "assisted_generation",
        ModeSpec("assisted decoding", wishes=DRAFTERS, over=PLAIN, needs_cache=True, returns_one=True),
    )


PLAIN_MODES = tuple(GenerationMode(mode) for mode in PLAIN)
"""The modes that drafts and `dola_layers` go with."""

OVER_PLAIN = tuple(mode for mode in GenerationMode if mode.spec.over == PLAIN)
"""The modes that are done to greedy search and to sampling alike, and to nothing else."""

_IN_LIBRARY_ORDER = ("assistant_early_exit", "prompt_lookup_num_tokens", "use_mtp")
"""The drafters without a model, as the library looks for them."""


def base_mode(config: GenerationFields) -> GenerationMode:
    """The mode before drafts and contrasted layers are looked at."""
    asked = [mode for mode in GenerationMode if mode not in OVER_PLAIN and mode.spec.asked(config, None)]
    base = GenerationMode.GREEDY_SEARCH
    for mode in asked:
        if not mode.spec.over or base in mode.spec.over:
            base = mode
    return base


def mode_of(config: GenerationFields, assistant_model: object | None = None) -> GenerationMode:
    """The mode that runs; drafts and `dola_layers` change greedy search and sampling alone, as in 5.23."""
    return [base_mode(config), *done_to_plain(config, assistant_model)][-1]


def done_to_plain(config: GenerationFields, assistant_model: object | None) -> Iterator[GenerationMode]:
    """What is to be done to the base mode, if it is a plain one; the last of it is done."""
    if base_mode(config) in PLAIN_MODES:
        yield from (mode for mode in OVER_PLAIN if mode.spec.asked(config, assistant_model))


def drafters(config: GenerationFields) -> list[str]:
    """The fields that each ask for a drafter, the one first that the library would take of several."""
    asked = [wish.field for wish in GenerationMode.ASSISTED_GENERATION.spec.asked(config, None)]
    return sorted(asked, key=_IN_LIBRARY_ORDER.index)
