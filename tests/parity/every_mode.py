"""A request of each mode, with some that are guided or drawn, whose tokens come again unless something keeps them."""

from typing import Any

from tests.fuzz.requests import DRAFT, Asked
from tests.parity.drafting import repeating
from tests.parity.running import prompt

FAMILY = "llama"
PENALTIES = {"frequency_penalty": 1.4, "presence_penalty": 0.8}

MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "greedy": ("greedy", {}),
    "greedy, guided": ("greedy", {"guidance_scale": 1.8}),
    "sample": ("sample", {"do_sample": True, "num_return_sequences": 3, "top_k": 0}),
    "beams": ("beams", {"num_beams": 4, "num_return_sequences": 2}),
    "drawn beams": ("drawn beams", {"num_beams": 3, "do_sample": True}),
    "groups": ("groups", {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7, "num_return_sequences": 4}),
    "constrained": ("constrained", {"num_beams": 3, "force_words_ids": [[33, 44], [[51], [60, 61]]]}),
    "contrastive": ("contrastive", {"penalty_alpha": 0.4, "top_k": 4}),
    "contrastive, guided": ("contrastive", {"penalty_alpha": 0.4, "top_k": 3, "guidance_scale": 1.5}),
    "dola": ("dola", {"dola_layers": "low"}),
    "dola, sampled": ("dola", {"dola_layers": [1], "do_sample": True, "top_k": 30}),
    "looked up": ("lookup", {"prompt_lookup_num_tokens": 4}),
    "looked up, sampled": ("lookup", {"prompt_lookup_num_tokens": 3, "do_sample": True}),
    "drafted": ("drafted", {"num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0}),
    "drafted, sampled": ("drafted", {"num_assistant_tokens": 3, "assistant_confidence_threshold": 0.0,
                                     "do_sample": True}),
    "own layers": ("own layers", {"assistant_early_exit": 1, "num_assistant_tokens": 4}),
}  # fmt: skip


def asked(name: str, penalties: dict[str, float]) -> Asked:
    mode, fields = MODES[name]
    number = list(MODES).index(name)
    prompt_ids = repeating(number) if mode == "lookup" else prompt(number, 3 + (number * 11) % 40, FAMILY)
    outside: dict[str, Any] = {"seed": number}
    if mode == "drafted":
        outside["assistant_model"] = DRAFT
    if "guidance_scale" in fields:
        outside |= {"negative_prompt_ids": [7, 11, 13], "num_negative_masked": 0}
    # Nothing ends early, so that tokens come again.
    return Asked(mode, prompt_ids, {"max_new_tokens": 24, "eos_token_id": []} | fields | penalties, outside)
