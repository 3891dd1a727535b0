"""The body of `POST /load_model`, and what its stream tells."""

from typing import Literal

import msgspec
from pydantic import Field

from beamhouse.schemas.beamhouse.body import Body
from beamhouse.schemas.generation.bounds import MAX_NAME_CHARS


class LoadModelRequest(Body):
    """Which model a client is about to ask."""

    model: str = Field(min_length=1, max_length=MAX_NAME_CHARS, description="The served model, whatever stands here.")


class LoadingProgress(msgspec.Struct, frozen=True):
    """How far a stage has come; its unit is that of `total`."""

    current: int
    total: int


class LoadingEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the stream; `ready` and `error` end it."""

    status: Literal["loading", "ready", "error"]
    model: str
    stage: str | None = None
    progress: LoadingProgress | None = None
    cached: bool | None = None
    message: str | None = None
