"""The fields: all there, typed strictly, bounded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from pydantic import ValidationError

from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.defaults import LIBRARY_DEFAULTS, OURS, is_neutral
from tests.schemas.generation.strategies import VALUES, configs

FIELDS = json.loads((Path(__file__).parent / "data" / "generation_fields.json").read_text())
BY_NAME = {field["name"]: field for field in FIELDS}
# Zero switches these off in the library, so it is taken although their range begins above it.
ZERO_IS_OFF = {
    "top_k",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "epsilon_cutoff",
    "eta_cutoff",
    "diversity_penalty",
    "penalty_alpha",
}
NUMBERS = [field for field in FIELDS if field["type"].removesuffix("|null") in ("int", "float")]


def refusal(name, value):
    with pytest.raises(ValidationError) as caught:
        GenerationConfig(**{name: value})
    return caught.value.errors()[0]


def test_every_field_of_both_versions_is_there_and_no_other_but_ours():
    assert GenerationConfig.model_fields.keys() == BY_NAME.keys()
    assert {name for name, field in BY_NAME.items() if not (field["in_4x"] or field["in_5x"])} == OURS


def test_every_field_is_described_and_unset_at_first():
    config = GenerationConfig()
    for name, field in GenerationConfig.model_fields.items():
        assert field.description, name
        assert getattr(config, name) is None


def test_every_field_has_a_random_value_for_the_properties():
    assert VALUES.keys() == BY_NAME.keys()


@given(configs())
def test_a_configuration_survives_its_way_through_json(values):
    config = GenerationConfig(**values)
    assert config.set_fields().keys() == values.keys()
    assert GenerationConfig.model_validate(config.model_dump(mode="json", exclude_none=True)) == config
    assert GenerationConfig.model_validate_json(config.model_dump_json(exclude_none=True)) == config


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field["name"])
def test_numbers_below_and_above_the_range_are_refused(field):
    name = field["name"]
    bound = field.get("min", 0 if name.endswith("_id") else None)
    if name in ZERO_IS_OFF:
        bound = 0
    if bound is not None:
        refusal(name, bound - 1)
        if field.get("exclusive_min") and name not in ZERO_IS_OFF:
            refusal(name, bound)
    if "max" in field:
        refusal(name, field["max"] + 0.5)
        if field.get("exclusive_max"):
            refusal(name, field["max"])
    refusal(name, 10**12)


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field["name"])
@pytest.mark.parametrize("value", [True, "7", [1], {}], ids=repr)
def test_only_numbers_are_numbers(field, value):
    refusal(field["name"], value)


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field["name"])
def test_integers_are_whole_and_floats_finite(field):
    if field["type"].startswith("int"):
        refusal(field["name"], 7.0)
    else:
        for value in (float("nan"), float("inf"), float("-inf")):
            refusal(field["name"], value)


@pytest.mark.parametrize("name", [field["name"] for field in FIELDS if field["type"].startswith("bool")])
def test_only_booleans_are_booleans(name):
    refusal(name, 1)
    refusal(name, "true")


def test_a_whole_number_is_a_float_too():
    assert GenerationConfig(temperature=2).temperature == 2.0
    assert GenerationConfig.model_validate_json('{"repetition_penalty": 2}').repetition_penalty == 2.0


def test_neutral_values_are_accepted():
    for name in ZERO_IS_OFF:
        assert getattr(GenerationConfig(**{name: 0}), name) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 1e-40),
        ("repetition_penalty", 1e-320),
        ("encoder_repetition_penalty", 1e30),
        ("guidance_scale", 1e308),
        ("length_penalty", 1e308),
        ("exponential_decay_length_penalty", [5, 1e308]),
        ("exponential_decay_length_penalty", [5]),
        ("exponential_decay_length_penalty", [5, 1.0, 1.0]),
        ("exponential_decay_length_penalty", [5.5, 1.0]),
        ("sequence_bias", [[[1], 1e30]]),
        ("sequence_bias", [[[], 1.0]]),
        ("sequence_bias", []),
        ("sequence_bias", {"1": 1.0}),
        ("watermarking_config", {"bias": float("inf")}),
        ("watermarking_config", {"hashing_key": 2**80}),
        ("watermarking_config", {"ngram_len": 0, "keys": [1]}),
        ("watermarking_config", {"ngram_len": 5, "keys": []}),
        ("watermarking_config", {"ngram_len": 5, "keys": [1] * 100_000}),
        ("eos_token_id", -1),
        ("eos_token_id", [1, True]),
        ("suppress_tokens", [-1]),
        ("bad_words_ids", []),
        ("bad_words_ids", [[]]),
        ("stop_strings", ""),
        ("stop_strings", []),
        ("stop_strings", "x" * 2000),
        ("early_stopping", "always"),
        ("early_stopping", 1),
        ("cache_implementation", "made_up"),
        ("speculation_type", "made_up"),
        ("num_beams", 10**5),
        ("num_return_sequences", 10**6),
        ("max_new_tokens", 2**63),
        ("prefill_chunk_size", 0),
        ("generation_kwargs", {"a": float("nan")}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_values_that_would_break_or_be_ignored_are_refused(name, value):
    assert refusal(name, value)["loc"][0] == name


def test_temperature_zero_says_how_to_decode_greedily():
    assert "do_sample" in refusal("temperature", 0)["msg"]


def test_unknown_keys_are_refused():
    assert refusal("temprature", 1.0)["type"] == "extra_forbidden"


def test_an_assigned_value_is_checked_too():
    config = GenerationConfig(top_p=0.5)
    with pytest.raises(ValidationError):
        config.top_p = 1.5
    assert config.top_p == 0.5


@pytest.mark.parametrize(
    "hostile",
    [
        {f"key{index}": 1 for index in range(100_000)},
        {"suppress_tokens": ["x"] * 100_000},
        {"bad_words_ids": [["x"] * 1000] * 10_000},
        {"force_words_ids": [[["x"] * 1000] * 100] * 100},
        {"sequence_bias": [[["x"], "y"]] * 100_000},
        {"stop_strings": [1] * 100_000},
    ],
    ids=lambda hostile: next(iter(hostile)),
)
def test_a_huge_wrong_body_makes_few_errors(hostile):
    with pytest.raises(ValidationError) as caught:
        GenerationConfig(**hostile)
    assert caught.value.error_count() < 10


def test_bias_by_tuple_and_by_list_are_the_same():
    listed = GenerationConfig(sequence_bias=[[[5, 7], -1], [[0], 2.5]])
    assert GenerationConfig(sequence_bias={(5, 7): -1.0, (0,): 2.5}) == listed
    assert GenerationConfig(sequence_bias={"(5, 7)": -1.0, "(0,)": 2.5}) == listed
    assert listed.sequence_bias == [([5, 7], -1.0), ([0], 2.5)]


def test_a_phrase_and_a_choice_may_stand_side_by_side():
    assert GenerationConfig(force_words_ids=[[1, 2], [[3], [4, 5]]]).force_words_ids == [[1, 2], [[3], [4, 5]]]


def test_watermarking_takes_options_or_a_name():
    assert GenerationConfig(watermarking_config={"bias": 1}).watermarking_config.bias == 1.0
    assert GenerationConfig(watermarking_config={"ngram_len": 5, "keys": [1]}).watermarking_config.keys == [1]
    assert GenerationConfig(watermarking_config="house").watermarking_config == "house"


def test_defaults_are_those_of_the_field_table():
    for name, field in BY_NAME.items():
        expected = field["default_5x"] if field["in_5x"] else field["default"]
        if name == "max_length":
            expected = 20
        assert (LIBRARY_DEFAULTS[name] or None) == (expected or None), name
        assert is_neutral(name, expected)


def test_off_is_neutral_and_a_wish_is_not():
    assert is_neutral("top_k", 0)
    assert is_neutral("suppress_tokens", [])
    assert is_neutral("guidance_scale", 1.0)
    assert not is_neutral("top_k", 7)
    assert not is_neutral("suppress_tokens", [3])
    assert not is_neutral("disable_compile", True)
    assert not is_neutral("max_new_tokens", 20)
    assert not is_neutral("eos_token_id", 0)
    assert not is_neutral("top_h", 1.0)
    assert not is_neutral("top_p", 0.0)


def test_importing_the_room_brings_neither_torch_nor_transformers():
    code = (
        "import sys, beamhouse.schemas.generation.config; "
        "print([name for name in ('torch', 'transformers', 'huggingface_hub', 'fastapi') if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
