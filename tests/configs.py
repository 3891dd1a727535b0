"""A short way to the configuration that an engine runs."""

from collections.abc import Mapping
from typing import Any

from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolved import Resolved


def running(fields: Mapping[str, Any], assistant_model: str | None = None) -> Resolved:
    """What runs where a request says this and the model's file nothing; to 20 tokens if it says no length."""
    return Resolved.of(GenerationConfig(**{"max_length": 20} | dict(fields)), assistant_model)
