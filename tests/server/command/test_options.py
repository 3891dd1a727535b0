"""Command line options: one for each settings key and each generation field, made from what they set."""

import inspect
from typing import get_args

import pytest

from beamhouse.config.settings import KEYS, PARTS
from beamhouse.config.sources import read_meanings
from beamhouse.schemas.beamhouse.watermark_detection import DetectRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.server.command.options import (
    detection_fields_of,
    detection_options,
    generation_config_of,
    generation_options,
    request_fields_of,
    request_options,
    setting_options,
    with_options,
)


def flags(parameters: list[inspect.Parameter]) -> dict[str, tuple[str, ...]]:
    markers = {parameter.name: get_args(parameter.annotation)[1] for parameter in parameters}
    return {name: (marker.default, *(marker.param_decls or ())) for name, marker in markers.items()}


def test_every_setting_is_an_option_with_its_meaning():
    options = setting_options(*PARTS)
    assert [option.name for option in options] == list(KEYS)
    helps = {option.name: get_args(option.annotation)[1].help for option in options}
    assert all(helps[key].startswith(meaning) for key, meaning in read_meanings().items())


def test_the_model_has_two_names():
    assert flags(setting_options("model"))["model"] == ("--model", "--model-id")


def test_one_watermark_can_be_given_by_its_own_name():
    assert flags(setting_options("model"))["watermarks"] == ("--watermarks", "--watermark")


def test_tables_have_short_names_and_may_be_given_pair_by_pair():
    options = setting_options("model")
    assert flags(options)["watermarks"] == ("--watermarks", "--watermark")
    kinds = {option.name: get_args(get_args(option.annotation)[0])[0] for option in options}
    assert [name for name, kind in kinds.items() if kind == list[str]] == ["assistants", "tries", "watermarks"]


def test_a_switch_can_be_turned_off():
    assert flags(setting_options("engine"))["prefix_caching"] == ("--prefix-caching/--no-prefix-caching",)


def test_every_generation_field_is_an_option_with_its_description():
    options = generation_options()
    assert [option.name for option in options] == list(GenerationConfig.model_fields)
    assert all(get_args(option.annotation)[1].help for option in options)


def test_no_generation_field_has_the_name_of_a_setting_or_of_an_own_option():
    own = {"prompt", "seed", "stream", "as_json", "json", "config"}
    assert not set(GenerationConfig.model_fields) & (set(KEYS) | own)


def test_fields_beside_the_configuration_are_options_with_names_of_their_own():
    options = request_options()
    assert {option.name for option in options} == {"negative_prompt", "assistant_model", "force_words"}
    assert all(get_args(option.annotation)[1].help for option in options)
    assert not {option.name for option in options} & (set(GenerationConfig.model_fields) | set(KEYS))


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"force_words": "cat"}, {"force_words": ["cat"]}),
        ({"force_words": "7"}, {"force_words": ["7"]}),
        ({"force_words": '["cat", ["dog", "bird"]]'}, {"force_words": ["cat", ["dog", "bird"]]}),
        ({"negative_prompt": "[1]", "top_k": "3"}, {"negative_prompt": "[1]"}),
        ({"assistant_model": "draft"}, {"assistant_model": "draft"}),
    ],
)
def test_words_are_taken_as_they_stand_or_as_a_list(options: dict[str, str], fields: dict[str, object]):
    assert request_fields_of(options) == fields


def test_options_are_unset_unless_given():
    assert all(option.default is None for option in [*generation_options(), *setting_options(*PARTS)])


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("max_new_tokens", "12", 12),
        ("temperature", "0.5", 0.5),
        ("early_stopping", "never", "never"),
        ("early_stopping", "true", True),
        ("stop_strings", "12", "12"),
        ("stop_strings", '["a", "b"]', ["a", "b"]),
        ("bad_words_ids", "[[1, 2]]", [[1, 2]]),
        ("eos_token_id", "[1, 2]", [1, 2]),
        ("max_new_tokens", "many", "many"),
        ("do_sample", True, True),
    ],
)
def test_the_text_of_an_option_becomes_the_value_of_its_field(field: str, text: object, value: object):
    assert generation_config_of({field: text}) == {field: value}


def test_options_take_the_place_of_the_rest():
    def command(name: str, **options: object) -> None:
        pass

    assert list(inspect.signature(with_options(setting_options("model"))(command)).parameters) == [
        "name",
        *PARTS["model"].model_fields,
    ]


def test_every_field_of_a_detection_but_its_texts_is_an_option():
    options = detection_options()
    assert [option.name for option in options] == [name for name in DetectRequest.model_fields if name != "inputs"]
    given = {"z_threshold": "2.5", "watermarking_config": '{"bias": 2}', "return_flags": True, "model": "a"}
    assert detection_fields_of(given) == {"z_threshold": 2.5, "watermarking_config": {"bias": 2}, "return_flags": True}
    assert detection_fields_of({"watermarking_config": "own"}) == {"watermarking_config": "own"}
