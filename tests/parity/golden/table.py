"""What the golden cases ask for, written once for all models.

In the fields, `seen 7` stands for the token that the model itself chose at place 7 where the fields that say so are
left out, so that end tokens, bans and biases really meet what would be generated; tokens of phrases are not counted.
`word 2` stands for a phrase of the model, `end` for the model's own end token.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wish:
    """length: of the prompt, in tokens. loops: whether the prompt repeats itself."""

    fields: dict[str, Any]
    length: int = 5
    seed: int = 0
    draft: dict[str, Any] | None = None
    negative_length: int = 0
    loops: bool = False


SEVERAL_ENDS = ["seen 9", "seen 5", "seen 7"]
LATE_ENDS = ["seen 12", "seen 9", "seen 11"]
SAMPLED = {"do_sample": True, "top_k": 0}
LEFTHASH = {"greenlist_ratio": 0.3, "bias": 2.5, "seeding_scheme": "lefthash", "hashing_key": 15485863}
SELFHASH = {"greenlist_ratio": 0.25, "bias": 3.0, "seeding_scheme": "selfhash", "hashing_key": 32452843}


def _drafting(num_tokens: int, schedule: str, threshold: float) -> dict[str, Any]:
    return {
        "num_assistant_tokens": num_tokens,
        "num_assistant_tokens_schedule": schedule,
        "assistant_confidence_threshold": threshold,
    }


GREEDY = {
    "greedy": Wish({"max_new_tokens": 24}),
    "greedy, end token": Wish({"max_new_tokens": 16, "eos_token_id": "seen 9"}, length=1),
    "greedy, several end tokens, penalties": Wish(
        {"max_new_tokens": 20, "eos_token_id": SEVERAL_ENDS, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2,
         "min_new_tokens": 4}, length=37),
    "greedy, bans and biases": Wish(
        {"max_new_tokens": 12, "bad_words_ids": [["seen 2"], ["seen 3", "seen 4"]], "suppress_tokens": ["seen 5"],
         "begin_suppress_tokens": ["seen 0"], "sequence_bias": [[["seen 6"], -4.0], ["word 1", 3.0]],
         "forced_eos_token_id": "end"}, length=37),
    "greedy, decay": Wish(
        {"max_new_tokens": 20, "exponential_decay_length_penalty": [6, 1.4], "min_new_tokens": 6,
         "renormalize_logits": True}, length=6),
    "greedy, guidance": Wish({"max_new_tokens": 12, "guidance_scale": 1.6}, length=9),
    "greedy, guidance, negative prompt": Wish({"max_new_tokens": 12, "guidance_scale": 2.5, "eos_token_id": "seen 7"},
                                              length=12, negative_length=7),
    "greedy, lefthash": Wish({"max_new_tokens": 20, "watermarking_config": LEFTHASH | {"context_width": 1}}),
    "greedy, selfhash": Wish({"max_new_tokens": 12, "watermarking_config": SELFHASH | {"context_width": 3}}, length=8),
}  # fmt: skip

SAMPLE = {
    "sample": Wish(SAMPLED | {"max_new_tokens": 24}, length=1, seed=1),
    "sample, three sequences": Wish(
        SAMPLED | {"max_new_tokens": 16, "num_return_sequences": 3, "eos_token_id": SEVERAL_ENDS}, seed=2),
    "sample, warpers": Wish(
        {"do_sample": True, "max_new_tokens": 20, "temperature": 0.8, "top_k": 25, "top_p": 0.9,
         "eos_token_id": "seen 12"}, length=37, seed=3),
    "sample, cutoffs and penalties": Wish(
        SAMPLED | {"max_new_tokens": 16, "typical_p": 0.9, "min_p": 0.02, "epsilon_cutoff": 0.003, "eta_cutoff": 0.004,
                   "repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "num_return_sequences": 2,
                   "renormalize_logits": True}, length=20, seed=4),
    "sample, guidance": Wish(SAMPLED | {"max_new_tokens": 10, "guidance_scale": 1.5}, seed=5),
    "sample, guidance, negative prompt": Wish(
        SAMPLED | {"max_new_tokens": 10, "guidance_scale": 2.0, "temperature": 0.7}, length=14, seed=6,
        negative_length=4),
    "sample, seed above 32 bits": Wish(SAMPLED | {"max_new_tokens": 12}, length=3, seed=2**40 + 7),
    "sample, watermark before or after warpers": Wish(
        {"do_sample": True, "max_new_tokens": 16, "temperature": 0.6, "top_k": 8, "watermarking_config": LEFTHASH},
        length=6, seed=8),
}  # fmt: skip

BEAM_SEARCH = {
    "beam search": Wish({"max_new_tokens": 16, "num_beams": 4, "num_return_sequences": 4}, length=37),
    "beam search, end token": Wish(
        {"max_new_tokens": 16, "num_beams": 4, "num_return_sequences": 3, "eos_token_id": "seen 5"}),
    "beam search, several end tokens, early": Wish(
        {"max_new_tokens": 14, "num_beams": 3, "num_return_sequences": 3, "eos_token_id": SEVERAL_ENDS,
         "early_stopping": True, "length_penalty": 0.6}, length=9),
    "beam search, several end tokens, never": Wish(
        {"max_new_tokens": 12, "num_beams": 4, "num_return_sequences": 2, "eos_token_id": SEVERAL_ENDS,
         "early_stopping": "never", "length_penalty": 0.6}, length=1),
    "beam search, short preferred": Wish(
        {"max_new_tokens": 12, "num_beams": 3, "num_return_sequences": 2, "eos_token_id": "seen 7",
         "length_penalty": -1.0}, length=3),
    "beam search, sums, never": Wish(
        {"max_new_tokens": 12, "num_beams": 5, "num_return_sequences": 5, "eos_token_id": "seen 3",
         "length_penalty": 0.0, "early_stopping": "never"}, length=6),
    "beam search, penalties": Wish(
        {"max_new_tokens": 14, "num_beams": 3, "num_return_sequences": 2, "eos_token_id": "seen 4",
         "min_new_tokens": 6, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2,
         "bad_words_ids": [["seen 1"], ["seen 2", "seen 3"]]}, length=20),
    "beam search, biases": Wish(
        {"max_new_tokens": 14, "num_beams": 4, "num_return_sequences": 2, "eos_token_id": "seen 8",
         "sequence_bias": [["word 1", 4.0], [["seen 2"], -3.0]], "exponential_decay_length_penalty": [5, 1.2],
         "suppress_tokens": ["seen 6"], "forced_eos_token_id": "seen 8", "renormalize_logits": True}, length=11),
    "beam search, watermark": Wish(
        {"max_new_tokens": 10, "num_beams": 3, "num_return_sequences": 2, "watermarking_config": LEFTHASH}, length=4),
}  # fmt: skip

BEAM_SAMPLE = {
    "beam sample": Wish(SAMPLED | {"max_new_tokens": 14, "num_beams": 3, "num_return_sequences": 3}, seed=11),
    "beam sample, warpers, end token": Wish(
        {"do_sample": True, "max_new_tokens": 14, "num_beams": 4, "num_return_sequences": 2, "temperature": 0.7,
         "top_k": 30, "top_p": 0.95, "eos_token_id": "seen 6"}, length=37, seed=12),
    "beam sample, several end tokens": Wish(
        SAMPLED | {"max_new_tokens": 12, "num_beams": 3, "num_return_sequences": 2, "eos_token_id": SEVERAL_ENDS,
                   "early_stopping": True, "length_penalty": 0.0}, length=1, seed=13),
    "beam sample, penalties, never": Wish(
        SAMPLED | {"max_new_tokens": 12, "num_beams": 3, "eos_token_id": "seen 5", "early_stopping": "never",
                   "repetition_penalty": 1.2, "min_new_tokens": 4, "length_penalty": 2.0}, length=9, seed=14),
}  # fmt: skip

GROUP = {
    "group beams": Wish(
        {"max_new_tokens": 14, "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.8,
         "num_return_sequences": 4}, length=37),
    "group beams, one each, end token": Wish(
        {"max_new_tokens": 12, "num_beams": 4, "num_beam_groups": 4, "diversity_penalty": 1.5,
         "num_return_sequences": 3, "eos_token_id": "seen 3"}),
    "group beams, several end tokens, early": Wish(
        {"max_new_tokens": 12, "num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.5,
         "num_return_sequences": 4, "eos_token_id": SEVERAL_ENDS, "early_stopping": True, "length_penalty": 0.6},
        length=1),
    "group beams, penalties, never": Wish(
        {"max_new_tokens": 12, "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 4.0,
         "num_return_sequences": 2, "eos_token_id": "seen 4", "early_stopping": "never", "repetition_penalty": 1.3,
         "no_repeat_ngram_size": 2, "min_new_tokens": 3, "length_penalty": 2.0}, length=15),
}  # fmt: skip

CONSTRAINED = {
    "constrained, a phrase": Wish(
        {"max_new_tokens": 14, "num_beams": 4, "num_return_sequences": 2, "force_words_ids": ["word 0"]}, length=37),
    "constrained, two phrases, end token": Wish(
        {"max_new_tokens": 14, "num_beams": 5, "num_return_sequences": 1, "force_words_ids": ["word 0", "word 2"],
         "eos_token_id": "seen 11", "exponential_decay_length_penalty": [5, 1.2]}),
    "constrained, a choice": Wish(
        {"max_new_tokens": 10, "num_beams": 4, "num_return_sequences": 3, "force_words_ids": [["word 0", "word 3"]],
         "early_stopping": True, "length_penalty": 0.6}, length=1),
    "constrained, phrase and choice, several end tokens": Wish(
        {"max_new_tokens": 14, "num_beams": 4, "num_return_sequences": 1, "eos_token_id": LATE_ENDS,
         "exponential_decay_length_penalty": [5, 1.2],
         "constraints": [{"type": "phrasal", "token_ids": "word 2"},
                         {"type": "disjunctive", "nested_token_ids": ["word 1", "word 3"]}]}, length=9),
    "constrained, penalties, never": Wish(
        {"max_new_tokens": 12, "num_beams": 3, "num_return_sequences": 2, "force_words_ids": ["word 1"],
         "eos_token_id": "seen 6", "early_stopping": "never", "length_penalty": 2.0, "repetition_penalty": 1.3,
         "no_repeat_ngram_size": 2, "min_new_tokens": 5}, length=20),
}  # fmt: skip

CONTRASTIVE = {
    "contrastive": Wish({"max_new_tokens": 20, "penalty_alpha": 0.6, "top_k": 4}, length=37),
    "contrastive, weak, end token": Wish(
        {"max_new_tokens": 16, "penalty_alpha": 0.2, "top_k": 2, "eos_token_id": "seen 8"}, length=1),
    "contrastive, strong, several end tokens, penalties": Wish(
        {"max_new_tokens": 16, "penalty_alpha": 0.9, "top_k": 6, "eos_token_id": SEVERAL_ENDS, "min_new_tokens": 6,
         "repetition_penalty": 1.2, "bad_words_ids": [["seen 2"], ["seen 3", "seen 4"]]}, length=6),
    "contrastive, guidance": Wish(
        {"max_new_tokens": 10, "penalty_alpha": 0.5, "top_k": 4, "guidance_scale": 1.4}, length=8),
    "contrastive, guidance, negative prompt": Wish(
        {"max_new_tokens": 10, "penalty_alpha": 0.4, "top_k": 3, "guidance_scale": 2.0}, length=13, negative_length=5),
}  # fmt: skip

DOLA = {
    "DoLa, low layers": Wish({"max_new_tokens": 16, "dola_layers": "low"}, length=37),
    "DoLa, high layers, end token": Wish(
        {"max_new_tokens": 16, "dola_layers": "high", "repetition_penalty": 1.2, "eos_token_id": "seen 8"}),
    "DoLa, listed layers, several end tokens": Wish(
        {"max_new_tokens": 16, "dola_layers": [0, 1], "eos_token_id": SEVERAL_ENDS, "no_repeat_ngram_size": 2},
        length=1),
    "DoLa, sampled": Wish(
        {"do_sample": True, "max_new_tokens": 16, "dola_layers": "high", "top_k": 20, "temperature": 1.2},
        length=7, seed=21),
    "DoLa, guidance": Wish({"max_new_tokens": 10, "dola_layers": "low", "guidance_scale": 1.5}, length=5),
    "DoLa, guidance, negative prompt": Wish(
        {"max_new_tokens": 10, "dola_layers": [1], "guidance_scale": 1.8}, length=10, negative_length=6),
}  # fmt: skip

ASSISTED = {
    "assisted": Wish({"max_new_tokens": 20}, length=37, draft=_drafting(4, "constant", 0.0)),
    "assisted, heuristic, end token": Wish(
        {"max_new_tokens": 20, "eos_token_id": "seen 11"}, length=1, draft=_drafting(3, "heuristic", 0.0)),
    "assisted, cautious, penalties": Wish(
        {"max_new_tokens": 20, "repetition_penalty": 1.2, "eos_token_id": SEVERAL_ENDS}, length=8,
        draft=_drafting(8, "constant", 0.15)),
    "assisted, sampled": Wish(SAMPLED | {"max_new_tokens": 20}, length=6, seed=31, draft=_drafting(4, "constant", 0.0)),
    "assisted, sampled, transient, end tokens": Wish(
        {"do_sample": True, "max_new_tokens": 20, "temperature": 0.8, "top_k": 20, "top_p": 0.95,
         "eos_token_id": ["seen 12", "seen 9"]}, length=12, seed=32, draft=_drafting(2, "heuristic_transient", 0.0)),
    "assisted, prompt lookup": Wish({"max_new_tokens": 24, "prompt_lookup_num_tokens": 4}, length=37, loops=True),
    "assisted, prompt lookup, sampled": Wish(
        {"do_sample": True, "max_new_tokens": 16, "prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 3,
         "temperature": 0.7, "top_k": 10, "eos_token_id": "seen 10"}, length=20, seed=33, loops=True),
}  # fmt: skip

TABLE = GREEDY | SAMPLE | BEAM_SEARCH | BEAM_SAMPLE | GROUP | CONSTRAINED | CONTRASTIVE | DOLA | ASSISTED
