"""`POST /load_model`: the handshake of `transformers chat`, which shows how loading comes along."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Response

from beamhouse.engine.link.client import EngineStatus
from beamhouse.schemas.transformers.loading import LoadingEvent, LoadingProgress, LoadModelRequest
from beamhouse.schemas.words import Stage
from beamhouse.server.answering.answer_json import encode_json
from beamhouse.server.edge.document import EVENTS_TYPE, events, examples
from beamhouse.server.edge.event_stream import EventStream, as_data
from beamhouse.server.edge.strict_json import Served, StrictRoute
from beamhouse.server.service import Service

LOOK_S = 0.1
"""Between two looks at how loading stands."""
STAGES = {Stage.RESOLVE: "config", Stage.DOWNLOAD: "download", Stage.WEIGHTS: "weights"}
"""Our stages by the client's names; it shows others as they are."""
ENDED = frozenset({Stage.STOPPING, Stage.FAILED})

router = APIRouter(route_class=StrictRoute, tags=["transformers"])
TOLD: dict[int | str, dict[str, Any]] = {200: {"content": {EVENTS_TYPE: events(LoadingEvent)}}}


@router.post("/load_model", response_class=Response, responses=TOLD, openapi_extra=examples(any_name={"model": "tiny"}))
async def load_model(body: LoadModelRequest, service: Served) -> Response:
    """Tell how the served model is being loaded, until it is `ready` or never will be (`error`).

    There is nothing to choose: the model was named when the server was started, and it is there for any name.
    """
    settings = service.settings.server
    return EventStream(told(service, body.model), lambda: None, settings.ping_s)


async def told(service: Service, model: str) -> AsyncGenerator[bytes, None]:
    """An event whenever something has changed. cached: the model was there before anybody asked."""
    before: LoadingEvent | None = None
    while before is None or before.status == "loading":
        status = EngineStatus(Stage.STOPPING) if service.gate.is_closed else service.client.status
        event = say(status, model, is_first=before is None)
        if event != before:
            yield as_data(encode_json(event))
        else:
            await asyncio.sleep(LOOK_S)
        before = event


def say(status: EngineStatus, model: str, is_first: bool) -> LoadingEvent:
    if status.is_ready:
        return LoadingEvent(status="ready", model=model, cached=is_first)
    if status.stage in ENDED:
        return LoadingEvent(status="error", model=model, message=status.error or f"the server is {status.stage}")
    stage = STAGES.get(status.stage, str(status.stage))
    # Shares of a download would be shown as bytes.
    is_told = status.share and status.stage is not Stage.DOWNLOAD
    progress = LoadingProgress(round(100 * status.share), 100) if is_told else None
    return LoadingEvent(status="loading", model=model, stage=stage, progress=progress)
