"""What one model can do: its vocabulary and its context."""

import pytest

from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.model_rules import check_model
from beamhouse.schemas.generation.resolution import merge

VOCAB_SIZE = 50


def problems(values, prompt_len=4, context_len=32, vocab_size=VOCAB_SIZE):
    config = merge(GenerationConfig(**values), GenerationConfig(), prompt_len=prompt_len, context_len=context_len)
    return check_model(config, vocab_size=vocab_size, context_len=context_len, prompt_len=prompt_len)


def fields(values, **model):
    return [problem.field.removeprefix("generation_config.") for problem in problems(values, **model)]


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("eos_token_id", 49, 50),
        ("eos_token_id", [3, 49], [3, 50]),
        ("pad_token_id", 0, 50),
        ("bos_token_id", 0, 50),
        ("decoder_start_token_id", [1], [50]),
        ("forced_bos_token_id", 49, 50),
        ("forced_eos_token_id", [49], [50]),
        ("suppress_tokens", [49], [50]),
        ("begin_suppress_tokens", [49], [50]),
        ("forced_decoder_ids", [[60, 49], [61, None]], [[1, 50]]),
        ("bad_words_ids", [[1], [2, 49]], [[1], [2, 50]]),
        ("force_words_ids", [[1], [[2], [49]]], [[1], [[2], [50]]]),
        ("constraints", [{"type": "phrasal", "token_ids": [49]}], [{"type": "phrasal", "token_ids": [50]}]),
        (
            "constraints",
            [{"type": "disjunctive", "nested_token_ids": [[49]]}],
            [{"type": "disjunctive", "nested_token_ids": [[1], [2, 50]]}],
        ),
        (
            "constraints",
            [{"type": "ordered", "phrases": [[49], [1]]}],
            [{"type": "ordered", "phrases": [[1], [2, 50]]}],
        ),
        ("sequence_bias", [[[1, 49], 60.0]], [[[1, 50], 1.0]]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_ids_must_be_in_the_vocabulary(field, good, bad):
    assert fields({field: good}) == []
    (problem,) = problems({field: bad})
    assert problem.field == f"generation_config.{field}"
    assert "50; allowed: 0 <= id < 50" in problem.message


@pytest.mark.parametrize(
    ("values", "prompt_len", "expected"),
    [
        ({}, 31, []),
        ({}, 32, ["inputs"]),
        ({"max_new_tokens": 5}, 40, ["inputs"]),
        ({"max_new_tokens": 28}, 4, []),
        ({"max_new_tokens": 29}, 4, ["max_new_tokens"]),
        ({"max_length": 33}, 4, ["max_length"]),
        ({"max_length": 4}, 4, ["max_length"]),
        ({"max_length": 5}, 4, []),
        ({"max_new_tokens": 5, "min_length": 10}, 4, ["min_length"]),
        ({"max_length": 9, "min_new_tokens": 6}, 4, ["min_new_tokens"]),
        ({"max_length": 9, "min_new_tokens": 5}, 4, []),
    ],
)
def test_lengths_must_fit(values, prompt_len, expected):
    assert fields(values, prompt_len=prompt_len) == expected


def test_a_model_without_a_limit_takes_any_length():
    assert fields({"max_new_tokens": 10_000}, context_len=None) == []


def test_the_prompt_s_own_field_is_named():
    config = merge(GenerationConfig(), GenerationConfig(), prompt_len=40, context_len=32)
    (problem,) = check_model(config, vocab_size=9, context_len=32, prompt_len=40, prompt_field="messages")
    assert (problem.field, problem.message) == ("messages", "prompt has 40 tokens; allowed: at most 31")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"suppress_tokens": [*range(50)]}, ["suppress_tokens"]),
        ({"suppress_tokens": [*range(49)]}, []),
        ({"suppress_tokens": [*range(25)], "begin_suppress_tokens": [*range(25, 50)]}, ["begin_suppress_tokens"]),
        ({"exponential_decay_length_penalty": [2, 1.5]}, ["exponential_decay_length_penalty"]),
        (
            {"exponential_decay_length_penalty": [2, 1.5], "eos_token_id": []},
            ["exponential_decay_length_penalty"],
        ),
        ({"exponential_decay_length_penalty": [2, 1.5], "eos_token_id": 1}, []),
        ({"penalty_alpha": 0.5, "top_k": 51}, ["top_k"]),
        ({"do_sample": True, "top_k": 51}, []),
        ({"watermarking_config": {"greenlist_ratio": 0.01}}, ["watermarking_config.greenlist_ratio"]),
        ({"watermarking_config": {"seeding_scheme": "selfhash"}}, []),
        ({"watermarking_config": "house"}, []),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_vocabulary_must_leave_a_choice(values, expected):
    assert fields(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"assistant_early_exit": 3}, []),
        ({"assistant_early_exit": 4}, ["assistant_early_exit"]),
        ({"dola_layers": [0, 2]}, []),
        ({"dola_layers": [0, 3]}, ["dola_layers"]),
        ({"dola_layers": "low"}, []),
    ],
    ids=str,
)
def test_layers_must_be_those_of_the_model(values, expected):
    config = merge(GenerationConfig(**values), GenerationConfig(), prompt_len=1, context_len=32)
    found = check_model(config, vocab_size=50, context_len=32, prompt_len=1, num_layers=3)
    assert [problem.field for problem in found] == [f"generation_config.{field}" for field in expected]
    assert {problem.code for problem in found} <= {"out_of_range"}


def test_selfhash_needs_forty_candidates():
    values = {"watermarking_config": {"seeding_scheme": "selfhash"}}
    assert fields(values, vocab_size=39) == ["watermarking_config.seeding_scheme"]
