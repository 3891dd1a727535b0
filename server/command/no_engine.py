"""In the place of the engine for commands that serve nothing and compute nothing."""

from beamhouse.engine.link.client import EngineStatus
from beamhouse.engine.link.messages import Constraint, Load, Submission
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.schemas.words import Stage
from beamhouse.server.service import TokenStream

NOBODY = "nobody submits anything here"


class NoEngine:
    """info: what is known of a model without having loaded it."""

    def __init__(self, info: ModelInfo | None = None) -> None:
        self.status = EngineStatus(Stage.STOPPING if info is None else Stage.READY, 1.0)
        self.info = info
        self.load = Load()

    async def start(self) -> None:
        raise AssertionError(NOBODY)

    async def stop(self) -> None:
        raise AssertionError(NOBODY)

    async def compile(self, constraint: Constraint) -> None:
        raise AssertionError(NOBODY)

    def submit(self, submission: Submission) -> TokenStream:
        raise AssertionError(NOBODY)
