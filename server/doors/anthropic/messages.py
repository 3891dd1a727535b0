"""`POST /v1/messages` and `POST /v1/messages/count_tokens`: conversations, in Anthropic's words."""

from fastapi import APIRouter, Response

from beamhouse.schemas.anthropic.answers import (
    BlockDelta,
    BlockStart,
    BlockStop,
    ErrorAnswer,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    Progress,
    TokenCount,
)
from beamhouse.schemas.anthropic.messages import CountTokensRequest, MessagesRequest
from beamhouse.server.answering.answer_json import json_response
from beamhouse.server.answering.run import Run
from beamhouse.server.answering.speaking import speak
from beamhouse.server.answering.turn_readers import readers_of
from beamhouse.server.asking.model_name import check_model_name
from beamhouse.server.asking.prompts import encode_chat
from beamhouse.server.doors.anthropic.dialect import AnthropicRoute
from beamhouse.server.doors.anthropic.speaker import MessageSpeaker
from beamhouse.server.doors.anthropic.translation import expected_of, translate_count, translate_messages
from beamhouse.server.edge.document import answers, events, examples
from beamhouse.server.edge.strict_json import Served, StrictRequest

router = APIRouter(route_class=AnthropicRoute, tags=["Anthropic"])
HELLO = {"model": "builtin", "messages": [{"role": "user", "content": "Once upon a time"}]}
STREAM = events(
    message_start=MessageStart,
    ping=Ping,
    content_block_start=BlockStart,
    content_block_delta=BlockDelta,
    content_block_stop=BlockStop,
    message_delta=MessageDelta,
    message_stop=MessageStop,
    progress=Progress,
    error=ErrorAnswer,
)


@router.post(
    "/v1/messages",
    responses=answers(Message, ErrorAnswer, STREAM),
    openapi_extra=examples(
        stream={**HELLO, "max_tokens": 32, "stream": True}, likeliest={**HELLO, "max_tokens": 16, "temperature": 0}
    ),
)
async def create_message(body: MessagesRequest, request: StrictRequest, service: Served) -> Response:
    """Go on with a conversation.

    The fields are Anthropic's, and every field of `generate()` by its own name. The model decides whether it calls
    tools, unless `tool_choice` does. Headers that choose a version of the API change nothing.
    """
    model = await service.model()
    check_model_name(service, model, body.model)
    return await speak(request, service, translate_messages(body, model), lambda run: speaker_of(run, body))


def speaker_of(run: Run, body: MessagesRequest) -> MessageSpeaker:
    shows_special = body.outputs is not None and body.outputs.skip_special_tokens is False
    return MessageSpeaker(run, body, readers_of(run, expected_of(body), shows_special)[0])


@router.post(
    "/v1/messages/count_tokens",
    responses=answers(TokenCount, ErrorAnswer),
    openapi_extra=examples(a_conversation=HELLO),
)
async def count_tokens(body: CountTokensRequest, service: Served) -> Response:
    """How many tokens the prompt of a request has: its messages, its system prompt and its tools."""
    with service.gate.entered():
        model = await service.model()
        check_model_name(service, model, body.model)
        token_ids = await encode_chat(service, model, translate_count(body, model))
        return json_response(TokenCount(len(token_ids)))
