"""Random values for every field of a generation, alone valid; together they need not go."""

from typing import Any

from hypothesis import strategies as st

COUNTS = st.integers(1, 64)
IDS = st.integers(0, 31)
ID_LISTS = st.lists(IDS, min_size=1, max_size=4)
PHRASES = st.lists(ID_LISTS, min_size=1, max_size=3)
SHARES = st.floats(0, 1)
INNER = st.floats(0.01, 0.99)
FLAGS = st.booleans()
WORDS = st.text(min_size=1, max_size=8)

GREENLIST = st.fixed_dictionaries(
    {},
    optional={
        "greenlist_ratio": INNER,
        "bias": st.floats(-10, 10),
        "hashing_key": st.integers(0, 2**63 - 1),
        "seeding_scheme": st.sampled_from(["lefthash", "selfhash"]),
        "context_width": st.integers(1, 9),
    },
)
CONSTRAINTS = st.fixed_dictionaries({"type": st.just("phrasal"), "token_ids": ID_LISTS})

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "max_length": COUNTS,
    "max_new_tokens": COUNTS,
    "min_length": COUNTS,
    "min_new_tokens": COUNTS,
    "early_stopping": FLAGS | st.just("never"),
    "max_time": st.floats(0, 100),
    "stop_strings": WORDS | st.lists(WORDS, min_size=1, max_size=3),
    "do_sample": FLAGS,
    "num_beams": st.integers(1, 6),
    "num_beam_groups": st.integers(1, 3),
    "penalty_alpha": SHARES,
    "dola_layers": st.sampled_from(["low", "high"]) | st.lists(st.integers(0, 8), min_size=1, max_size=3),
    "use_mtp": FLAGS,
    "use_cache": FLAGS,
    "cache_implementation": st.sampled_from(["dynamic", "static", "offloaded", "quantized", "hybrid"]),
    "cache_config": st.fixed_dictionaries({"backend": st.just("hqq"), "nbits": st.sampled_from([1, 2, 3, 4, 8])}),
    "return_legacy_cache": FLAGS,
    "max_cache_len": COUNTS,
    "temperature": st.floats(0.01, 10),
    "top_k": st.integers(0, 100),
    "top_p": SHARES,
    "min_p": SHARES,
    "top_h": INNER,
    "typical_p": INNER,
    "epsilon_cutoff": INNER,
    "eta_cutoff": INNER,
    "diversity_penalty": st.floats(0, 10),
    "repetition_penalty": st.floats(0.1, 10),
    "encoder_repetition_penalty": st.floats(0.1, 10),
    "frequency_penalty": st.floats(-2, 2),
    "presence_penalty": st.floats(-2, 2),
    "length_penalty": st.floats(-4, 4),
    "no_repeat_ngram_size": st.integers(0, 5),
    "bad_words_ids": PHRASES,
    "force_words_ids": PHRASES | st.lists(PHRASES, min_size=1, max_size=2),
    "renormalize_logits": FLAGS,
    "constraints": st.lists(CONSTRAINTS, min_size=1, max_size=2),
    "forced_bos_token_id": IDS,
    "forced_eos_token_id": IDS | ID_LISTS,
    "remove_invalid_values": FLAGS,
    "exponential_decay_length_penalty": st.tuples(st.integers(0, 20), st.floats(0.5, 2)).map(list),
    "suppress_tokens": st.lists(IDS, max_size=4),
    "begin_suppress_tokens": st.lists(IDS, max_size=4),
    "forced_decoder_ids": st.lists(st.tuples(COUNTS, IDS | st.none()).map(list), max_size=3),
    "sequence_bias": st.lists(st.tuples(ID_LISTS, st.floats(-9, 9)).map(list), min_size=1, max_size=3),
    "token_healing": FLAGS,
    "guidance_scale": st.floats(-10, 10),
    "low_memory": FLAGS,
    "watermarking_config": GREENLIST,
    "num_return_sequences": st.integers(1, 6),
    "output_attentions": FLAGS,
    "output_hidden_states": FLAGS,
    "output_scores": FLAGS,
    "output_logits": FLAGS,
    "return_dict_in_generate": FLAGS,
    "pad_token_id": IDS,
    "bos_token_id": IDS,
    "eos_token_id": IDS | st.lists(IDS, max_size=4),
    "encoder_no_repeat_ngram_size": st.integers(0, 5),
    "decoder_start_token_id": IDS | ID_LISTS,
    "is_assistant": FLAGS,
    "num_assistant_tokens": COUNTS,
    "num_assistant_tokens_schedule": st.sampled_from(["constant", "heuristic", "heuristic_transient"]),
    "assistant_confidence_threshold": SHARES,
    "prompt_lookup_num_tokens": COUNTS,
    "max_matching_ngram_size": COUNTS,
    "assistant_early_exit": COUNTS,
    "assistant_lookbehind": COUNTS,
    "target_lookbehind": COUNTS,
    "assistant_ensemble_weight": INNER,
    "speculation_type": st.just("dflash"),
    "compile_config": st.fixed_dictionaries({"fullgraph": FLAGS, "mode": st.just("default")}),
    "disable_compile": FLAGS,
    "prefill_chunk_size": COUNTS,
    "continuous_batching_config": st.dictionaries(st.sampled_from(["block_size", "num_blocks"]), COUNTS, min_size=1),
    "generation_kwargs": st.dictionaries(WORDS, IDS, max_size=2),
}


def configs(without: set[str] = frozenset()) -> st.SearchStrategy[dict[str, Any]]:
    """Dicts of up to 12 set fields."""
    return st.lists(st.sampled_from(sorted(VALUES.keys() - without)), unique=True, max_size=12).flatmap(
        lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names})
    )
