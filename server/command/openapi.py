"""The OpenAPI document of a server, told without a model and without an engine process."""

from typing import Any

from beamhouse.config.settings import load
from beamhouse.server.app import create_app
from beamhouse.server.command.no_engine import NoEngine


def document() -> dict[str, Any]:
    """What `GET /openapi.json` answers under the settings that the environment gives."""
    return create_app(NoEngine(), load({})).openapi()
