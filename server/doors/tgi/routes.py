"""TGI's routes: a prompt in, one answer or a stream of tokens out."""

import secrets
from typing import Any

from fastapi import APIRouter, Request, Response

from beamhouse.config.settings import GreenList
from beamhouse.schemas.tgi.answers import StreamEvent, TgiAnswer, TgiError
from beamhouse.schemas.tgi.requests import TgiRequest, TgiStreamRequest
from beamhouse.server.answering.speaking import speak
from beamhouse.server.doors.tgi.dialect import streaming_tgi_dialect, tgi_dialect
from beamhouse.server.doors.tgi.speaker import TgiSpeaker
from beamhouse.server.doors.tgi.translation import NOTHING, Door, translate_generation
from beamhouse.server.edge.dialects import use_dialect
from beamhouse.server.edge.document import EVENTS_TYPE, events, examples
from beamhouse.server.edge.strict_json import Handle, Served, StrictRequest, StrictRoute
from beamhouse.server.service import Service

TAG = "text-generation-inference"
SEED_BITS = 53
"""Of the seeds that are drawn here: every reader of JSON keeps so large a number exactly."""
STREAM = "/generate_stream"
STREAMED: dict[str, Any] = {EVENTS_TYPE: events(StreamEvent, TgiError)}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {"model": TgiError, "description": "Why there is no answer"},
    422: {"model": TgiError, "description": "What is wrong with the request"},
}
EXAMPLES = examples(
    greedy={"inputs": "Once upon a time", "parameters": {"max_new_tokens": 8, "details": True}},
    a_draw={"inputs": "Once upon a time", "parameters": {"max_new_tokens": 8, "temperature": 0.7, "seed": 7}},
    beam_search={"inputs": "Once upon a time", "parameters": {"max_new_tokens": 8, "num_beams": 4, "details": True}},
)


class TgiRoute(StrictRoute):
    """A route whose problems are told in TGI's words."""

    dialect = staticmethod(tgi_dialect)


class StreamingTgiRoute(TgiRoute):
    """Where a stream was asked for, problems are told in it."""

    def get_route_handler(self) -> Handle:
        own = super().get_route_handler()

        async def handle(request: Request) -> Response:
            strict = StrictRequest.of(request)
            content = await strict.json()
            if self.path == STREAM or (isinstance(content, dict) and content.get("stream") is True):
                use_dialect(request, streaming_tgi_dialect)
            return await own(strict)

        self.answer = handle
        return handle


router = APIRouter(route_class=StreamingTgiRoute, tags=[TAG], responses=PROBLEMS)


@router.post("/", response_model=list[TgiAnswer], responses={200: {"content": STREAMED}}, openapi_extra=EXAMPLES)
async def tgi_root(body: TgiRequest, request: StrictRequest, service: Served) -> Response:
    """A list with one answer, or a stream if `stream` asks for it: the route of `huggingface_hub`'s `text_generation`.

    Where `tgi_compat` is on, the text begins with the prompt unless `return_full_text` is false.
    """
    is_full = service.settings.server.tgi_compat
    return await answered(body, request, service, is_full=is_full, is_listed=True)


@router.post("/generate", name="tgi_generate", include_in_schema=False)
async def tgi_generate(body: TgiRequest, request: StrictRequest, service: Served) -> Response:
    """One answer: where a body with `parameters` that came to our own route is handed to."""
    return await answered(body, request, service)


@router.post(STREAM, response_class=Response, responses={200: {"content": STREAMED}}, openapi_extra=EXAMPLES)
async def tgi_generate_stream(body: TgiStreamRequest, request: StrictRequest, service: Served) -> Response:
    """A stream of tokens; the last event holds the whole text, and `details` if they were asked for."""
    body.stream = True
    return await answered(body, request, service)


async def answered(
    body: TgiRequest, request: StrictRequest, service: Service, *, is_full: bool = False, is_listed: bool = False
) -> Response:
    """is_full: whether the text begins with the prompt where the body does not say. is_listed: for a plain answer."""
    said = (body.parameters or NOTHING).return_full_text
    is_full = is_full if said is None else said
    native = translate_generation(body, door_of(service))
    response = await speak(request, service, native, lambda run: TgiSpeaker(run, body, is_full, is_listed))
    if response.status_code == 200 and (info := service.client.info) is not None:
        response.headers["x-compute-type"] = info.device
        response.headers["x-compute-characters"] = str(len(body.inputs))
    return response


def door_of(service: Service) -> Door:
    mark = service.settings.server.tgi_watermark
    return Door(mark.model_dump() if isinstance(mark, GreenList) else mark, lambda: secrets.randbits(SEED_BITS))
