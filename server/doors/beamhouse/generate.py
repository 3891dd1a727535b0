"""`POST /generate`: one answer, or server-sent events."""

from contextlib import closing
from typing import Any

import anyio
from fastapi import APIRouter, Request, Response

from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.server.answering.run import Run, respond_as_events
from beamhouse.server.answering.start import start
from beamhouse.server.answering.tensors import write_safetensors
from beamhouse.server.edge.errors import request_id_of, respond
from beamhouse.server.edge.hang_up import unless_gone
from beamhouse.server.edge.strict_json import Served, StrictRequest, StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["generation"])
SAFETENSORS = "application/octet-stream"
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
    run = await unless_gone(request, start(service, body, request.arrived_at, request_id_of(request)))
    return respond_as_events(run) if body.stream else await respond_whole(request, run)


async def respond_whole(request: Request, run: Run) -> Response:
    """The answer in one piece; a client that hangs up before it is ready ends the run."""
    with closing(run):
        final = await unless_gone(request, run.result())
        if isinstance(final, ProblemJson):
            return respond(final, run.service.retry_headers(final.status))
        content, media_type = await anyio.to_thread.run_sync(content_of, run, final, limiter=run.service.limiter)
        return Response(content, media_type=media_type)


def content_of(run: Run, answer: Answer) -> tuple[bytes, str]:
    """The JSON, or a safetensors file that holds it, and its media type."""
    content = run.answer_json(answer)
    if run.accepted.outputs.tensors == "safetensors" and run.tensors:
        return write_safetensors(run.tensors, content.decode()), SAFETENSORS
    return content, "application/json"
