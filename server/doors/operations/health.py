"""Probes: alive, ready, and how far loading has come."""

from typing import Any, Literal

from fastapi import APIRouter, Response

from beamhouse.engine.link.client import EngineStatus
from beamhouse.schemas.beamhouse.service import Health
from beamhouse.schemas.words import Stage
from beamhouse.server.edge.strict_json import Served

router = APIRouter(tags=["service"])
NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"model": Health, "description": "Not ready, with the stage of loading"}
}


@router.get("/health", responses=NOT_READY)
@router.get("/ping", responses=NOT_READY)
@router.get("/health/ready", responses=NOT_READY)
async def ready(service: Served, response: Response) -> Health:
    """200 when requests are answered, otherwise 503 with the stage and how much of it is done."""
    status = EngineStatus(Stage.STOPPING) if service.gate.is_closed else service.client.status
    if not status.is_ready:
        response.status_code = 503
        response.headers.update(service.retry_headers(503))
    return health("ready" if status.is_ready else "not_ready", status)


@router.get("/health/live")
async def live(service: Served) -> Health:
    """200 as long as this process answers at all."""
    return health("alive", service.client.status)


def health(word: Literal["ready", "not_ready", "alive"], status: EngineStatus) -> Health:
    return Health(status=word, stage=status.stage, share=status.share, error=status.error)
