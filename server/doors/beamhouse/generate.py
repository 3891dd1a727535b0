"""`POST /generate`: one answer, or server-sent events."""

from typing import Any

from fastapi import APIRouter, Response

from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.server.answering.speaking import speak
from beamhouse.server.doors.beamhouse.speaker import SAFETENSORS, OwnSpeaker
from beamhouse.server.doors.whose import generation_of
from beamhouse.server.edge.document import EVENTS_TYPE, events, examples
from beamhouse.server.edge.meeting import MeetingRoute
from beamhouse.server.edge.strict_json import Served, StrictRequest


class GenerationRoute(MeetingRoute):
    """Here our bodies meet those of TGI."""

    meant = staticmethod(generation_of)


router = APIRouter(route_class=GenerationRoute, tags=["generation"])
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            EVENTS_TYPE: events(
                token=TokenEvent, tokens=TokensEvent, progress=ProgressEvent, done=Answer, error=ProblemJson
            ),
            SAFETENSORS: {"schema": {"type": "string", "format": "binary"}},
        }
    }
}
EXAMPLES = examples(
    stream_of_a_sample={
        "inputs": "Once upon a time",
        "generation_config": {"max_new_tokens": 32, "do_sample": True},
        "seed": 7,
        "stream": True,
    },
    beam_search={
        "inputs": "Once upon a time",
        "generation_config": {"max_new_tokens": 16, "num_beams": 4, "num_return_sequences": 2},
    },
    log_probabilities={
        "inputs": ["Once upon a time", "The little fox"],
        "generation_config": {"max_new_tokens": 4},
        "outputs": {"transition_scores": True, "top_n_tokens": 3, "prompt_logprobs": True},
    },
)


@router.post("/generate", response_model=Answer, responses=ANSWERS, openapi_extra=EXAMPLES)
async def generate(body: GenerateRequest, request: StrictRequest, service: Served) -> Response:
    """Continue one prompt or several, as one answer or as server-sent events.

    A stream has `token` and `tokens` events, and ends with exactly one `done` (the whole answer) or `error`. A beam
    search says what all its live hypotheses agree on, and with `outputs.progress` how they stand (`progress` events).

    A body with `parameters` is one of text-generation-inference, and is answered in its words.
    """
    if body.stream is None:
        body.stream = EVENTS_TYPE in request.headers.get("accept", "")
    return await speak(request, service, body, OwnSpeaker)
