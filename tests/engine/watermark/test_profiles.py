"""Named watermarks: files, defaults, and that no key is ever told."""

import json
from pathlib import Path
from typing import Any

import pytest

from beamhouse.engine.watermark.profiles import check_default, load_profiles, without_keys
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig, WatermarkingConfig

KEY = 982_451_653
OWN = GenerationConfig(watermarking_config={"hashing_key": KEY})


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_profiles_are_read_from_files(tmp_path: Path) -> None:
    weights = {
        "prior": [0.5],
        "likelihood_model_watermarked.beta": [[[0.0, 0.0]]],
        "likelihood_model_watermarked.delta": [[[[0.0, 0.0], [0.0, 0.0]]]],
    }
    write(tmp_path / "weights.json", weights)
    files = {
        "green": write(tmp_path / "green.json", {"hashing_key": KEY}),
        "syn": write(tmp_path / "syn.json", {"ngram_len": 5, "keys": [1, 2], "detector": "weights.json"}),
    }
    profiles = load_profiles(files, OWN, 100)
    assert sorted(profiles) == ["green", "model", "syn"]
    assert isinstance(profiles["green"].mark, WatermarkingConfig)
    assert isinstance(profiles["syn"].mark, SynthIDTextWatermarkingConfig)
    assert profiles["syn"].weights is not None
    assert profiles["model"].mark == OWN.watermarking_config


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ([], "a watermark is a JSON object"),
        ({"hashing_key": KEY, "biass": 1}, "biass"),
        ({"hashing_key": -KEY}, "hashing_key"),
        ({"hashing_key": KEY, "greenlist_ratio": 0.001}, "greenlist_ratio"),
        ({"ngram_len": 5, "keys": [KEY, -KEY]}, "keys.1"),
        ({"hashing_key": KEY, "detector": "weights.json"}, "green lists need none"),
        ({"ngram_len": 5, "keys": [KEY], "detector": 3}, "detector is the name of a file"),
        ({"ngram_len": 5, "keys": [KEY], "detector": "missing.json"}, "cannot be read"),
        ({"ngram_len": 5, "keys": [KEY], "detector": "profile.json"}, "has no likelihood"),
    ],
)
def test_a_broken_profile_says_why_without_its_keys(tmp_path: Path, content: Any, reason: str) -> None:
    file = write(tmp_path / "profile.json", content)
    with pytest.raises(ValueError, match="watermark house") as caught:
        load_profiles({"house": file}, GenerationConfig(), 100)
    assert reason in str(caught.value)
    assert str(KEY) not in str(caught.value)


@pytest.mark.parametrize("name", ["model", "none", "hidden"])
def test_names_with_a_meaning_are_taken(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="the name is taken"):
        load_profiles({name: write(tmp_path / "p.json", {})}, GenerationConfig(), 100)


def test_defaults_have_to_exist(tmp_path: Path) -> None:
    profiles = load_profiles({"green": write(tmp_path / "p.json", {})}, GenerationConfig(), 100)
    check_default(profiles, "green", True)
    check_default(profiles, None, False)
    check_default(profiles, None, True)
    check_default(load_profiles({}, OWN, 100), None, True)
    with pytest.raises(ValueError, match="default_watermark is blue; known: green"):
        check_default(profiles, "blue", False)
    with pytest.raises(ValueError, match="require_watermark needs a watermark"):
        check_default({}, None, True)


def test_the_models_own_watermark_is_shown_by_name() -> None:
    assert without_keys(OWN).watermarking_config == "model"
    assert without_keys(GenerationConfig()).watermarking_config is None
