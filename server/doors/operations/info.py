"""`GET /info`: what this server is and can do."""

from typing import Any

from fastapi import APIRouter
from msgspec import structs

from beamhouse.schemas.beamhouse.service import ModelAnswer, RequestLimits
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.watermarking import MODEL_WATERMARK
from beamhouse.schemas.judge.asked import Facts
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.schemas.tgi.info import SharedInfo
from beamhouse.server.edge.strict_json import Served
from beamhouse.server.service import TOKENIZER_THREADS, Service, budget_of, limits_of
from beamhouse.server.version import version

router = APIRouter(tags=["service"])


@router.get("/info", response_model_exclude_none=True)
async def info(service: Served) -> SharedInfo:
    """The model, the decoding modes and fields it is served with, and the limits."""
    loaded, status = service.client.info, service.client.status.stage
    if loaded is None:
        return SharedInfo(version=version(), status=status)
    return SharedInfo.model_validate(
        structs.asdict(loaded)
        | {
            "version": version(),
            "status": status,
            "model": ModelAnswer.model_validate(loaded),
            "assistants": sorted(loaded.assistants),
            "default_watermark": default_watermark(service, loaded),
            "limits": limits(service, loaded),
        }
        | for_tgi(service, loaded)
    )


def for_tgi(service: Service, loaded: ModelInfo) -> dict[str, Any]:
    """The same once more, by the names that TGI has for it."""
    server, limits = service.settings.server, limits_of(service.settings)
    facts = Facts(loaded, budget_of(service.settings), GenerationConfig(), limits=limits)
    longest = min(limits.max_prompt_tokens or facts.most_tokens, facts.most_tokens - 1)
    return {
        "model_id": loaded.model_id,
        "model_sha": loaded.revision,
        "model_dtype": f"torch.{loaded.dtype}",
        "model_device_type": loaded.device.partition(":")[0],
        "model_pipeline_tag": "text-generation",
        "max_concurrent_requests": server.max_requests,
        "max_best_of": min(limits.max_sequences or server.max_prompts, server.max_prompts),
        "max_stop_sequences": limits.max_stop_strings,
        "max_input_tokens": longest,
        "max_input_length": longest,
        "max_total_tokens": facts.most_tokens,
        "max_client_batch_size": server.max_prompts,
        "validation_workers": TOKENIZER_THREADS,
        "router": "beamhouse",
    }


def default_watermark(service: Service, loaded: ModelInfo) -> str | None:
    """The watermark of requests that say nothing of it."""
    own = MODEL_WATERMARK if MODEL_WATERMARK in loaded.watermarks else None
    return service.settings.model.default_watermark or own


def limits(service: Service, loaded: ModelInfo) -> RequestLimits:
    """Those of the settings and those of the model, by their names."""
    settings = service.settings
    known = settings.server.model_dump() | settings.engine.model_dump() | structs.asdict(loaded)
    return RequestLimits.model_validate(known | {"max_beams": loaded.max_beams or loaded.max_rows})
