"""`POST /generate`: one answer, or server-sent events."""

from typing import Any

from fastapi import APIRouter, Response

from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.server.answering.speaking import speak
from beamhouse.server.doors.beamhouse.speaker import SAFETENSORS, OwnSpeaker
from beamhouse.server.edge.strict_json import Served, StrictRequest, StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["generation"])
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/event-stream": {"schema": {"type": "string"}},
            SAFETENSORS: {"schema": {"type": "string", "format": "binary"}},
        }
    }
}


@router.post("/generate", response_model=Answer, responses=ANSWERS)
async def generate(body: GenerateRequest, request: StrictRequest, service: Served) -> Response:
    """Continue one prompt or several, as one answer or as server-sent events.

    A stream has `token` and `tokens` events, and ends with exactly one `done` (the whole answer) or `error`. A beam
    search says what all its live hypotheses agree on, and with `outputs.progress` how they stand (`progress` events).
    """
    if body.stream is None:
        body.stream = "text/event-stream" in request.headers.get("accept", "")
    return await speak(request, service, body, OwnSpeaker)
