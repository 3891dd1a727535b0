"""Watermarks kept on the server under a name, so that their keys travel in no request."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from beamhouse.engine.watermark.bayesian import BayesianWeights
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.model_rules import watermark_problems
from beamhouse.schemas.generation.watermarking import (
    MODEL_WATERMARK,
    NO_WATERMARK,
    RESERVED,
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
)

Mark = WatermarkingConfig | SynthIDTextWatermarkingConfig


@dataclass(frozen=True, slots=True)
class Profile:
    """A named watermark. weights: of the trained SynthID detector, where there are any."""

    mark: Mark
    weights: BayesianWeights | None = None


Profiles = Mapping[str, Profile]


def load_profiles(files: Mapping[str, Path], defaults: GenerationConfig, vocab_size: int) -> dict[str, Profile]:
    """All watermarks that requests of a model may name. defaults: the model's own configuration.

    Raises ValueError saying what is wrong with which file; the text holds none of the keys.
    """
    profiles = {name: _load(name, file, vocab_size) for name, file in files.items()}
    own = defaults.watermarking_config
    if own is not None and not isinstance(own, str):
        profiles[MODEL_WATERMARK] = Profile(own)
    return profiles


def check_default(profiles: Profiles, default: str | None, is_required: bool) -> None:
    """Whether requests can be marked as the settings want it. Raises ValueError."""
    if default is not None:
        check_known("default_watermark", default, profiles)
    if is_required and not profiles:
        raise ValueError("require_watermark needs a watermark in watermarks, or a model that brings one")


def check_known(setting: str, name: str, profiles: Profiles) -> None:
    """Whether there is a watermark of that name. Raises ValueError."""
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise ValueError(f"{setting} is {name}; known: {known}")


def find_profile(named: Mark | str | None, profiles: Profiles) -> Profile | None:
    """What a `watermarking_config` asks for; None for no watermark. named: one of `profiles`, if it is a name."""
    if named is None or named == NO_WATERMARK:
        return None
    if not isinstance(named, str):
        return Profile(named)
    return profiles[named]


def without_keys(defaults: GenerationConfig) -> GenerationConfig:
    """The model's own configuration as it may be shown: its watermark by name."""
    if defaults.watermarking_config is None or isinstance(defaults.watermarking_config, str):
        return defaults
    return defaults.model_copy(update={"watermarking_config": MODEL_WATERMARK})


def _load(name: str, file: Path, vocab_size: int) -> Profile:
    """The file of one profile: the fields of a library's configuration, and `detector`, a file of trained weights."""
    try:
        if name in RESERVED:
            raise ValueError(f"the name is taken: {', '.join(RESERVED)} have meanings of their own")
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("a watermark is a JSON object")
        detector = content.pop("detector", None)
        mark = _read_mark(content)
        for problem in watermark_problems(mark, vocab_size):
            raise ValueError(problem.message)
        return Profile(mark, _load_weights(file.parent, detector, mark))
    except json.JSONDecodeError:
        raise ValueError(f"watermark {name}: {file} is not JSON") from None
    except OSError as error:
        raise ValueError(f"watermark {name}: {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"watermark {name}, {file}: {error}") from None


def _read_mark(content: dict[str, Any]) -> Mark:
    try:
        mark = GenerationConfig.model_validate({"watermarking_config": content}).watermarking_config
    except ValidationError as error:
        raise ValueError("; ".join(_faults(error))) from None
    assert mark is not None
    assert not isinstance(mark, str)
    return mark


def _faults(error: ValidationError) -> Iterator[str]:
    """Field and fault, without the values: they may be keys."""
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        field = ".".join(str(part) for part in item["loc"][2:])
        yield f"{field}: {item['msg'][0].lower()}{item['msg'][1:]}"


def _load_weights(directory: Path, detector: object, mark: Mark) -> BayesianWeights | None:
    if detector is None:
        return None
    if not isinstance(detector, str):
        raise ValueError("detector is the name of a file")
    if not isinstance(mark, SynthIDTextWatermarkingConfig):
        raise ValueError("a detector is trained for SynthID; green lists need none")
    return BayesianWeights.load(directory / detector, depth=len(mark.keys))
