"""The model's own generation defaults: its generation_config.json, or what its config.json says."""

import json
import logging
from pathlib import Path
from typing import Any

from engine.errors import ModelUnsupported
from schemas.generation import GenerationConfig

logger = logging.getLogger(__name__)

GENERATION_FILE = "generation_config.json"
MODEL_FILE = "config.json"


def read_defaults(path: Path, vocab_size: int, num_layers: int) -> GenerationConfig:
    """What holds in this model where a request is silent. Raises ModelUnsupported.

    Without a readable generation_config.json it is the raw config.json that counts, as in 5.23: the library's
    configuration object drops the fields of generation while it is read, and adds token ids that the file lacks.
    A value that no request could ask for is left out with a warning, so that it does not refuse every request.
    """
    content, file = _read(path)
    try:
        defaults, problems = GenerationConfig.salvage(content, vocab_size, num_layers)
    except ValueError as error:
        raise ModelUnsupported(f"{file} cannot be used: {error}") from error
    for problem in problems:
        logger.warning("%s: left out: %s", file, problem.message)
    return defaults


def _read(path: Path) -> tuple[dict[str, Any], Path]:
    file = path / GENERATION_FILE
    if file.is_file():
        try:
            return _read_object(file), file
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read, so %s counts: %s", file, MODEL_FILE, error)
    file = path / MODEL_FILE
    try:
        return GenerationConfig.part_of(_read_object(file)), file
    except (OSError, ValueError) as error:
        raise ModelUnsupported(f"{file} cannot be read: {error}") from error


def _read_object(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object")
    return content
