"""The model's own generation defaults: its generation_config.json, or what its config.json says."""

import logging
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.state.decoder_config import decoder_config
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.files import FILE_NAME, read_json

logger = logging.getLogger(__name__)

MODEL_FILE = "config.json"


def read_generation_defaults(path: Path, model_config: PreTrainedConfig) -> GenerationConfig:
    """What holds in this model where a request is silent. Raises ModelUnsupported.

    Without a readable generation_config.json it is the raw config.json that counts, as in 5.23: the library's
    configuration object drops the fields of generation while it is read, and adds token ids that the file lacks.
    A value that no request could ask for is left out with a warning, so that it does not refuse every request.
    """
    content, file = _read(path)
    decoder = decoder_config(model_config)
    try:
        defaults, problems = GenerationConfig.salvage(content, decoder.vocab_size, decoder.num_hidden_layers)
    except ValueError as error:
        raise ModelUnsupported(f"{file} cannot be used: {error}") from error
    for problem in problems:
        logger.warning("%s: left out: %s", file, problem.message)
    return defaults


def _read(path: Path) -> tuple[dict[str, Any], Path]:
    file = path / FILE_NAME
    if file.is_file():
        try:
            return read_json(file), file
        except OSError as error:
            logger.warning("%s, so %s counts", error, MODEL_FILE)
    file = path / MODEL_FILE
    try:
        return GenerationConfig.part_of(read_json(file)), file
    except (OSError, ValueError) as error:
        raise ModelUnsupported(f"{file} cannot be read: {error}") from error
