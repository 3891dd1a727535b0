"""`GET /info`: what this server is and can do."""

from fastapi import APIRouter
from msgspec import structs

from beamhouse.schemas.beamhouse.service import InfoAnswer, ModelAnswer, RequestLimits
from beamhouse.schemas.generation.watermarking import MODEL_WATERMARK
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.server.edge.strict_json import Served
from beamhouse.server.service import Service
from beamhouse.server.version import version

router = APIRouter(tags=["service"])


@router.get("/info", response_model_exclude_none=True)
async def info(service: Served) -> InfoAnswer:
    """The model, the decoding modes and fields it is served with, and the limits."""
    loaded, status = service.client.info, service.client.status.stage
    if loaded is None:
        return InfoAnswer(version=version(), status=status)
    return InfoAnswer.model_validate(
        structs.asdict(loaded)
        | {
            "version": version(),
            "status": status,
            "model": ModelAnswer.model_validate(loaded),
            "assistants": sorted(loaded.assistants),
            "default_watermark": default_watermark(service, loaded),
            "limits": limits(service, loaded),
        }
    )


def default_watermark(service: Service, loaded: ModelInfo) -> str | None:
    """The watermark of requests that say nothing of it."""
    own = MODEL_WATERMARK if MODEL_WATERMARK in loaded.watermarks else None
    return service.settings.model.default_watermark or own


def limits(service: Service, loaded: ModelInfo) -> RequestLimits:
    """Those of the settings and those of the model, by their names."""
    settings = service.settings
    known = settings.server.model_dump() | settings.engine.model_dump() | structs.asdict(loaded)
    return RequestLimits.model_validate(known | {"max_beams": loaded.max_beams or loaded.max_rows})
