"""`POST /watermark/detect`."""

import anyio
from fastapi import APIRouter, Request

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.schemas.beamhouse.watermark_detection import DetectAnswer, DetectRequest
from beamhouse.schemas.judge.name_rules import ids_outside
from beamhouse.server.answering.watermarks import check_size, detect, wanted_profile
from beamhouse.server.asking.prompts import check_filled, read_inputs
from beamhouse.server.edge.document import examples
from beamhouse.server.edge.hang_up import unless_gone
from beamhouse.server.edge.strict_json import Served, StrictRoute
from beamhouse.server.service import Service

router = APIRouter(route_class=StrictRoute, tags=["watermark"])
EXAMPLES = examples(
    green_lists={"watermarking_config": {"bias": 2.5}, "inputs": "there was a little girl who went for a walk"},
)


@router.post("/watermark/detect", response_model_exclude_none=True, openapi_extra=EXAMPLES)
async def detect_watermark(body: DetectRequest, request: Request, service: Served) -> DetectAnswer:
    """Whether texts are marked: counts, scores and a prediction for each. Needs no generation."""
    with service.gate.entered():
        return await unless_gone(request, find_marks(service, body))


async def find_marks(service: Service, body: DetectRequest) -> DetectAnswer:
    model = await service.model()
    profile = wanted_profile(body, model)
    texts = await read_inputs(service, model, body.inputs, add_special_tokens=False)
    check_filled(texts)
    vocab_size = model.info.vocab_size
    problems = [one for text in texts for one in ids_outside(text.token_ids, text.field, vocab_size)]
    if problems:
        raise InvalidRequest(problems)
    check_size(texts)
    detections = await anyio.to_thread.run_sync(detect, body, texts, profile, model, limiter=service.detector_limiter)
    named = body.watermarking_config or model.config.watermarking_config
    return DetectAnswer(
        model=model.info.model_id, watermark=named if isinstance(named, str) else None, detections=detections
    )
