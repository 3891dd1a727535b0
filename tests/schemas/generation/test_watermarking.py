"""Watermark options: defaults, ranges, and the library's methods."""

import json

import pytest
import transformers
from pydantic import ValidationError

from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig, WatermarkingConfig

KINDS = {
    "greenlist": (WatermarkingConfig, transformers.WatermarkingConfig, {"bias": 1.5, "context_width": 2}),
    "synthid": (
        SynthIDTextWatermarkingConfig,
        transformers.SynthIDTextWatermarkingConfig,
        {"ngram_len": 5, "keys": [3, 4], "sampling_table_seed": 7},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_and_files_are_the_library_s(kind, tmp_path):
    ours, library, values = KINDS[kind]
    config, reference = ours(**values), library(**values)
    assert config.to_dict() == reference.to_dict()
    assert list(config) == list(reference)
    assert json.loads(config.to_json_string()) == json.loads(reference.to_json_string())
    config.to_json_file(tmp_path / "ours.json")
    reference.to_json_file(tmp_path / "theirs.json")
    assert (tmp_path / "ours.json").read_text() == (tmp_path / "theirs.json").read_text()
    assert ours.from_dict(json.loads((tmp_path / "theirs.json").read_text())) == config


@pytest.mark.parametrize(
    "wrong",
    [
        {"greenlist_ratio": 0},
        {"greenlist_ratio": 1.0},
        {"greenlist_ratio": True},
        {"bias": float("nan")},
        {"bias": 1e9},
        {"hashing_key": -1},
        {"hashing_key": 2**80},
        {"seeding_scheme": "righthash"},
        {"context_width": 0},
        {"colour": "green"},
    ],
    ids=str,
)
def test_green_list_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        WatermarkingConfig(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ngram_len": 0},
        {"ngram_len": 1},
        {"keys": []},
        {"keys": [-1]},
        {"keys": [1.0]},
        {"keys": [1] * 65},
        {"sampling_table_size": 2**24 + 1},
        {"sampling_table_size": 0},
        {"context_history_size": 0},
        {"sampling_table_seed": -1},
        {"debug_mode": 1},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_synthid_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        SynthIDTextWatermarkingConfig.from_dict({"ngram_len": 5, "keys": [1]} | wrong)


def test_from_dict_takes_overrides_and_refuses_unknown_names():
    assert WatermarkingConfig.from_dict({"bias": 1.0}, bias=3.0).bias == 3.0
    for arguments in ({"config_dict": {"biass": 1.0}}, {"config_dict": {}, "biass": 1.0}):
        with pytest.raises(ValueError, match="biass"):
            WatermarkingConfig.from_dict(**arguments)


def test_update_sets_all_or_nothing_and_returns_what_there_is_not():
    config = WatermarkingConfig()
    assert config.update(bias=1.0, colour="green") == {"colour": "green"}
    assert config.bias == 1.0
    with pytest.raises(ValueError, match="context_width"):
        config.update(bias=2.0, context_width=0)
    assert config.bias == 1.0


def test_validate_finds_what_was_built_without_checks():
    WatermarkingConfig().validate()
    with pytest.raises(ValueError, match="context_width"):
        WatermarkingConfig.model_construct(context_width=0).validate()


def test_equality_looks_at_the_values():
    assert WatermarkingConfig(bias=1.0) != WatermarkingConfig(bias=2.0)
