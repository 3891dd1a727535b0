"""Requests of all nine modes, guided and marked ones among them, and what each gets alone."""

import copy
from functools import cache
from typing import Any

import torch

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission, Wanted
from beamhouse.engine.loading.draft_models import Assistant
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from tests.parity.models import reference, served
from tests.parity.running import SETTINGS, Answer, prompt, run, submission

DRAFT = "draft"
GREEN = {"seeding_scheme": "lefthash", "greenlist_ratio": 0.4, "bias": 3.0}
SELFHASH = GREEN | {"seeding_scheme": "selfhash", "context_width": 2}
SYNTHID = {"ngram_len": 4, "keys": [11, 23, 47]}

REQUESTS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy, processors": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "greedy, guided": {"guidance_scale": 1.8},
    "greedy, marked": {"watermarking_config": GREEN},
    "sample": {"do_sample": True},
    "sample, three": {"do_sample": True, "num_return_sequences": 3, "top_k": 0},
    "sample, guided": {"do_sample": True, "guidance_scale": 2.2, "top_p": 0.9},
    "sample, marked": {"do_sample": True, "watermarking_config": SYNTHID},
    "beams": {"num_beams": 4, "num_return_sequences": 2},
    "beams, several ends": {"num_beams": 3, "eos_token_id": [2, 17, 30], "early_stopping": True},
    "beams, guided": {"num_beams": 2, "guidance_scale": 1.4},
    "beams, marked": {"num_beams": 3, "watermarking_config": SELFHASH},
    "drawn beams": {"num_beams": 3, "do_sample": True, "temperature": 1.3},
    "drawn beams, all": {"num_beams": 4, "do_sample": True, "num_return_sequences": 4, "length_penalty": 2.0},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7, "num_return_sequences": 4},
    "groups of one": {"num_beams": 3, "num_beam_groups": 3, "diversity_penalty": 1.5},
    "constrained": {"num_beams": 3, "force_words_ids": [[33, 44], [[51], [60, 61]]]},
    "constrained in order": {
        "num_beams": 4, "constraints": [{"type": "ordered", "phrases": [[70], [80, 81]]}], "num_return_sequences": 2,
    },
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "contrastive, guided": {"penalty_alpha": 0.4, "top_k": 3, "guidance_scale": 1.5},
    "dola": {"dola_layers": "low"},
    "dola, sampled": {"dola_layers": [1], "do_sample": True, "top_k": 30},
    "looked up": {"prompt_lookup_num_tokens": 4},
    "looked up, sampled": {"prompt_lookup_num_tokens": 3, "do_sample": True, "top_k": 5},
    "drafted": {"num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0},
    "drafted, sampled": {"num_assistant_tokens": 3, "do_sample": True, "assistant_confidence_threshold": 0.0},
    "drafted, guided": {"num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0, "guidance_scale": 1.5},
    "own layers": {"assistant_early_exit": 1},
}  # fmt: skip


def assistants() -> dict[str, Assistant]:
    """A draft model: another random one, of a single layer."""
    torch.manual_seed(7)
    config = copy.deepcopy(reference("llama").config)
    config.num_hidden_layers = 1
    return {DRAFT: Assistant(type(reference("llama"))(config).eval())}


@cache
def engine() -> Engine:
    _, built = assemble(served("llama"), SETTINGS, Extensions(Registry({}, {}), {}, assistants=assistants()))
    return built


def prompt_of(name: str) -> list[int]:
    number = list(REQUESTS).index(name)
    ids = prompt(number, 2 + (number * 11) % 40, "llama")
    return ids * 3 if "looked up" in name else ids


def fields_of(name: str) -> dict[str, Any]:
    return {"max_new_tokens": 8 + 5 * list(REQUESTS).index(name) % 13} | REQUESTS[name]


def asked(name: str) -> Submission:
    return submission(
        "llama",
        prompt_of(name),
        fields_of(name),
        seed=len(name),
        wanted=Wanted(transition_scores=True),
        assistant_model=DRAFT if "drafted" in name else None,
    )


@cache
def alone() -> dict[str, Answer]:
    return {name: next(iter(run(engine(), {0: [asked(name)]}).values())) for name in REQUESTS}
