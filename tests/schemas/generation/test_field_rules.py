"""Fields that do not go together, and fields without effect."""

import pytest

from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.field_rules import InvalidGenerationConfig

PHRASAL = [{"type": "phrasal", "token_ids": [1, 2]}]

CONFLICTS = [
    ({"num_return_sequences": 2}, {"num_return_sequences"}),
    ({"num_return_sequences": 2, "penalty_alpha": 0.5, "top_k": 4}, {"num_return_sequences"}),
    ({"num_return_sequences": 3, "num_beams": 2}, {"num_return_sequences"}),
    ({"num_return_sequences": 2, "do_sample": True, "prompt_lookup_num_tokens": 3}, {"num_return_sequences"}),
    ({"num_return_sequences": 2, "dola_layers": "low"}, {"num_return_sequences"}),
    ({"min_new_tokens": 5, "max_new_tokens": 4}, {"min_new_tokens"}),
    ({"min_length": 5, "max_length": 4}, {"min_length"}),
    ({"force_words_ids": [[1]]}, {"force_words_ids"}),
    ({"constraints": PHRASAL}, {"constraints"}),
    ({"constraints": PHRASAL, "num_beams": 2, "do_sample": True}, {"constraints"}),
    ({"force_words_ids": [[1]], "num_beams": 2, "num_beam_groups": 2}, {"force_words_ids"}),
    ({"force_words_ids": [[[1, 2], [1, 2, 3]]], "num_beams": 2}, {"force_words_ids"}),
    ({"force_words_ids": [[[2], [1, 5], [1, 4], [1]]], "num_beams": 2}, {"force_words_ids"}),
    (
        {"constraints": [{"type": "disjunctive", "nested_token_ids": [[1], [1]]}], "num_beams": 2},
        {"constraints"},
    ),
    ({"num_beams": 4, "num_beam_groups": 2}, {"diversity_penalty"}),
    ({"num_beams": 4, "num_beam_groups": 3, "diversity_penalty": 1.0}, {"num_beam_groups"}),
    ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0, "do_sample": True}, {"num_beam_groups"}),
    ({"num_beams": 4, "diversity_penalty": 1.0}, {"diversity_penalty"}),
    ({"num_beams": 2, "prompt_lookup_num_tokens": 3}, {"prompt_lookup_num_tokens"}),
    ({"penalty_alpha": 0.5, "top_k": 4, "assistant_early_exit": 2}, {"assistant_early_exit"}),
    ({"num_beams": 2, "use_mtp": True}, {"use_mtp"}),
    ({"num_beams": 2, "dola_layers": "low"}, {"dola_layers"}),
    ({"dola_layers": "low", "prompt_lookup_num_tokens": 3}, {"dola_layers"}),
    ({"prompt_lookup_num_tokens": 3, "assistant_early_exit": 1}, {"prompt_lookup_num_tokens"}),
    ({"num_beams": 2, "use_mtp": True, "assistant_early_exit": 1}, {"use_mtp", "assistant_early_exit"}),
    ({"num_beams": 2, "constraints": PHRASAL, "prompt_lookup_num_tokens": 3}, {"prompt_lookup_num_tokens"}),
    ({"assistant_ensemble_weight": 0.5, "prompt_lookup_num_tokens": 3}, {"assistant_ensemble_weight"}),
    ({"use_cache": False, "prompt_lookup_num_tokens": 3}, {"use_cache"}),
    ({"use_cache": False, "penalty_alpha": 0.5, "top_k": 4}, {"use_cache"}),
    ({"use_cache": False, "prefill_chunk_size": 4}, {"prefill_chunk_size"}),
    ({"cache_config": {"nbits": 4}}, {"cache_config"}),
    ({"forced_eos_token_id": [1, 2], "suppress_tokens": [1, 2, 3]}, {"forced_eos_token_id"}),
    ({"forced_bos_token_id": 0, "suppress_tokens": [0]}, {"forced_bos_token_id"}),
    (
        {"num_return_sequences": 5, "num_beams": 4, "num_beam_groups": 3, "min_length": 5, "max_length": 4},
        {"num_return_sequences", "num_beam_groups", "diversity_penalty", "min_length"},
    ),
]

FINE = [
    {},
    {"do_sample": True, "num_return_sequences": 4, "temperature": 0.5},
    {"num_beams": 4, "num_return_sequences": 4},
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    {"num_beams": 2, "force_words_ids": [[1, 2], [[1], [2]]]},
    {"num_beams": 2, "constraints": PHRASAL},
    {"num_beams": 2, "constraints": [{"type": "ordered", "phrases": [[1], [1, 2], [1]]}]},
    {"num_beams": 2, "guidance_scale": 2.0, "num_return_sequences": 2},
    {"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 3},
    {"dola_layers": [0, 2]},
    {"penalty_alpha": 0.5, "top_k": 4},
    {"cache_implementation": "quantized", "cache_config": {"nbits": 4}},
    {"forced_eos_token_id": [1, 2], "suppress_tokens": [1]},
    {"min_length": 9, "max_length": 4, "max_new_tokens": 20},
    {"use_cache": False},
]


@pytest.mark.parametrize(
    ("values", "fields"), CONFLICTS, ids=lambda value: str(value if isinstance(value, dict) else sorted(value))[:60]
)
def test_what_cannot_be_obeyed_is_named(values, fields):
    problems = GenerationConfig(**values).problems()
    assert {problem.field for problem in problems} == {f"generation_config.{field}" for field in fields}
    assert {problem.code for problem in problems} == {"conflict"}
    with pytest.raises(InvalidGenerationConfig) as caught:
        GenerationConfig(**values).validate()
    assert {problem.field for problem in caught.value.problems} == fields
    assert all(field in str(caught.value) for field in fields)


@pytest.mark.parametrize("values", FINE, ids=lambda value: str(value)[:60])
def test_what_goes_together_is_no_problem_and_has_effect(values):
    config = GenerationConfig(**values)
    config.validate()
    assert config.warnings() == []


def test_a_draft_model_goes_with_greedy_search_and_sampling_only():
    assert GenerationConfig(do_sample=True).problems("drafter") == []
    assert [problem.field for problem in GenerationConfig(num_beams=2).problems("drafter", prefix="")] == [
        "assistant_model"
    ]
    assert [problem.field for problem in GenerationConfig(num_beams=2).problems("drafter")] == ["assistant_model"]
    problems = GenerationConfig(dola_layers="low").problems("drafter")
    assert [problem.field for problem in problems] == ["generation_config.dola_layers"]
    problems = GenerationConfig(prompt_lookup_num_tokens=3).problems("drafter")
    assert [problem.field for problem in problems] == ["generation_config.prompt_lookup_num_tokens"]


DRAFTING = {
    "num_assistant_tokens": 3,
    "num_assistant_tokens_schedule": "heuristic",
    "assistant_confidence_threshold": 0.9,
    "assistant_lookbehind": 3,
    "target_lookbehind": 3,
    "assistant_ensemble_weight": 0.5,
}


def test_fields_of_drafting_have_an_effect_where_their_drafter_reads_them():
    def idle(assistant_model=None, **values):
        warnings = GenerationConfig(**DRAFTING, **values).warnings(assistant_model=assistant_model)
        return {text.split()[0] for text in warnings}

    assert idle("drafter") == set()
    assert idle() == set(DRAFTING)
    assert idle(prompt_lookup_num_tokens=3) == set(DRAFTING)
    assert idle(assistant_early_exit=1) == {"assistant_lookbehind", "target_lookbehind", "assistant_ensemble_weight"}


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0.5},
        {"top_k": 3},
        {"top_p": 0.5},
        {"min_p": 0.5},
        {"top_h": 0.5},
        {"typical_p": 0.5},
        {"epsilon_cutoff": 0.5},
        {"eta_cutoff": 0.5},
        {"early_stopping": True},
        {"length_penalty": 2.0},
        {"num_beam_groups": 2},
        {"diversity_penalty": 0.5},
        {"penalty_alpha": 0.5, "do_sample": True},
        {"max_cache_len": 9},
        {"max_matching_ngram_size": 3},
        {"cache_implementation": "static", "use_cache": False},
    ],
    ids=str,
)
def test_a_field_without_effect_is_named(values):
    config = GenerationConfig(**values)
    field = next(iter(values))
    assert [text.split()[0] for text in config.warnings()] == [field]
    assert config.warnings(asked={"eos_token_id"}) == []
    config.validate()


def test_the_length_that_loses_is_named_to_who_asked_for_it():
    config = GenerationConfig(max_length=9, max_new_tokens=3, min_length=2, min_new_tokens=1)
    assert config.warnings() == []
    assert [text.split()[0] for text in config.warnings(asked=config.set_fields())] == ["max_length", "min_length"]
