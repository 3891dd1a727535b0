"""The OpenAPI document of a server, told without a model and without an engine process."""

from typing import Any

from beamhouse.config.settings import load
from beamhouse.engine.link.client import EngineStatus
from beamhouse.engine.link.messages import Constraint, Load, Submission
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.schemas.words import Stage
from beamhouse.server.app import create_app
from beamhouse.server.service import TokenStream


class NoEngine:
    """In the place of the engine for whoever only looks at the routes."""

    status = EngineStatus(Stage.STOPPING)
    info: ModelInfo | None = None
    load = Load()

    async def start(self) -> None:
        raise AssertionError("nothing is served")

    async def stop(self) -> None:
        raise AssertionError("nothing is served")

    async def compile(self, constraint: Constraint) -> None:
        raise AssertionError("nothing is served")

    def submit(self, submission: Submission) -> TokenStream:
        raise AssertionError("nothing is served")


def document() -> dict[str, Any]:
    """What `GET /openapi.json` answers under the default settings."""
    return create_app(NoEngine(), load({})).openapi()
