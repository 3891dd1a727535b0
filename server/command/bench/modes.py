"""The decoding modes that loads are made of, as plain data."""

from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Any

from beamhouse.server.command.bench.doors import CONFIG, Fields
from beamhouse.server.command.bench.prompts import words

LOOKUP_TOKENS = 10
"""Drafted from the prompt at once."""


class Needs(Enum):
    """What a mode is asked with beside its configuration."""

    PHRASE = auto()
    NEGATIVE_PROMPT = auto()
    PROMPT_LOOKUP = auto()
    DRAFT_MODEL = auto()


DRAFTING = (Needs.PROMPT_LOOKUP, Needs.DRAFT_MODEL)


@dataclass(frozen=True, slots=True)
class Mode:
    """runs: the decoding mode it must be. is_legacy: transformers 4.x alone has it."""

    name: str
    runs: str
    config: dict[str, Any]
    needs: Needs | None = None
    is_legacy: bool = False

    @property
    def is_drafting(self) -> bool:
        return self.needs in DRAFTING


SAMPLE = {"do_sample": True}
BEAMS = {"num_beams": 4, "do_sample": False}
GREEDY = {"do_sample": False}
GROUPS = {"num_beam_groups": 2, "diversity_penalty": 0.5}
LEFT_HASH = {"greenlist_ratio": 0.25, "bias": 2.0, "seeding_scheme": "lefthash", "context_width": 1}
MODES = (
    Mode("greedy_search", "greedy_search", GREEDY),
    Mode("sample", "sample", SAMPLE),
    Mode("beam_search", "beam_search", BEAMS),
    Mode("beam_sample", "beam_sample", BEAMS | SAMPLE),
    Mode("group_beam_search", "group_beam_search", BEAMS | GROUPS, is_legacy=True),
    Mode("constrained_beam_search", "constrained_beam_search", BEAMS, Needs.PHRASE, is_legacy=True),
    Mode("contrastive_search", "contrastive_search", GREEDY | {"top_k": 4, "penalty_alpha": 0.6}, is_legacy=True),
    Mode("dola_generation", "dola_generation", GREEDY | {"dola_layers": "low"}, is_legacy=True),
    Mode("prompt_lookup", "assisted_generation", GREEDY, Needs.PROMPT_LOOKUP),
    Mode("draft_model", "assisted_generation", GREEDY, Needs.DRAFT_MODEL),
    Mode("guidance", "greedy_search", GREEDY | {"guidance_scale": 1.5}, Needs.NEGATIVE_PROMPT),
    Mode("watermark", "greedy_search", GREEDY | {"watermarking_config": LEFT_HASH}),
)


class NoDraft(ValueError):
    """A mode needs a draft model, and none is named."""


def fields_of(mode: Mode, draw: Random, num_prompt: int, assistant_model: str | None) -> Fields:
    """The fields of `POST /generate` that ask for a mode beside a prompt. Raises NoDraft."""
    config = dict(mode.config)
    beside: Fields = {}
    match mode.needs:
        case Needs.PHRASE:
            beside["force_words"] = [words(draw, 1)]
        case Needs.NEGATIVE_PROMPT:
            beside["negative_prompt"] = words(draw, num_prompt)
        case Needs.PROMPT_LOOKUP:
            config["prompt_lookup_num_tokens"] = LOOKUP_TOKENS
        case Needs.DRAFT_MODEL:
            if assistant_model is None:
                raise NoDraft(f"{mode.name} needs --assistant-model, the name of a draft model that the server has")
            beside["assistant_model"] = assistant_model
    return {CONFIG: config, **beside}
