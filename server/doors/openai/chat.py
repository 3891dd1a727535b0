"""`POST /v1/chat/completions`: conversations, in OpenAI's words."""

from fastapi import APIRouter, Response

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.openai.answers import ChatChunk, ChatCompletion
from beamhouse.schemas.openai.chat import ChatRequest
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.answering.run import Run
from beamhouse.server.answering.speaking import speak
from beamhouse.server.answering.turn_readers import readers_of
from beamhouse.server.asking.drawing import MAX_NEW_TOKENS, names_end
from beamhouse.server.asking.expected_turn import gather_expected
from beamhouse.server.asking.model_name import check_model_name
from beamhouse.server.doors.openai.chat_speaker import ChatSpeaker
from beamhouse.server.doors.openai.conversations import expected_of, gather_conversation, shows_special
from beamhouse.server.doors.openai.dialect import OpenAIRoute
from beamhouse.server.doors.openai.documented import answered
from beamhouse.server.doors.openai.sampling import gather_logprobs, gather_sampling
from beamhouse.server.edge.document import examples
from beamhouse.server.edge.strict_json import Served, StrictRequest
from beamhouse.server.service import Model

EXAMPLES = examples(
    stream={
        "model": "builtin",
        "messages": [{"role": "user", "content": "Once upon a time"}],
        "max_completion_tokens": 32,
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    two_answers={"messages": [{"role": "user", "content": "Once upon a time"}], "max_tokens": 16, "n": 2, "seed": 3},
)
router = APIRouter(route_class=OpenAIRoute, tags=["OpenAI"])


@router.post(
    "/v1/chat/completions",
    responses=answered(ChatCompletion, ChatChunk),
    openapi_extra=EXAMPLES,
)
async def chat(body: ChatRequest, request: StrictRequest, service: Served) -> Response:
    """Go on with a conversation.

    The fields are OpenAI's, with what vLLM and llama.cpp add to them, and every field of `generate()` by its own name.
    """
    model = await service.model()
    check_model_name(service, model, body.model)
    return await speak(request, service, translate_chat(body, model), lambda run: speaker_of(run, body))


def speaker_of(run: Run, body: ChatRequest) -> ChatSpeaker:
    return ChatSpeaker(run, body, readers_of(run, expected_of(body), shows_special(body)))


def translate_chat(body: ChatRequest, model: Model) -> GenerateRequest:
    """What a body asks for in our own words. Raises InvalidRequest."""
    asked = gather_sampling(body, model.config)
    gather_conversation(asked, body, model)
    gather_expected(asked, expected_of(body), model)
    asked.put(MAX_NEW_TOKENS, body.max_completion_tokens, "max_completion_tokens")
    if not names_end(asked):
        asked.put("fill_context", True, "max_completion_tokens")
    if body.logprobs:
        gather_logprobs(asked, body, body.top_logprobs or 0, "logprobs")
    elif body.top_logprobs:
        raise invalid("top_logprobs", ProblemCode.CONFLICT, "top_logprobs go with logprobs")
    return asked.request()
