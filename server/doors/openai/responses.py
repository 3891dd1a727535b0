"""`POST /v1/responses`: conversations as items, in OpenAI's words, with nothing stored."""

from fastapi import APIRouter, Response

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.openai.response_answers import ResponseAnswer, ResponseEvent
from beamhouse.schemas.openai.responses import ResponsesRequest
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.answering.run import Run
from beamhouse.server.answering.speaking import speak
from beamhouse.server.answering.turn_readers import readers_of
from beamhouse.server.asking.drawing import MAX_NEW_TOKENS, names_end
from beamhouse.server.asking.expected_turn import Expected, gather_expected
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.asking.model_name import check_model_name
from beamhouse.server.asking.turns import VARIABLES, gather_turns, offered_tool, put_variable
from beamhouse.server.conversation.turn_format import TurnFormat
from beamhouse.server.doors.openai.conversations import choice_of, knows_developers, shows_special
from beamhouse.server.doors.openai.dialect import OpenAIRoute
from beamhouse.server.doors.openai.documented import answered
from beamhouse.server.doors.openai.response_input import conversation_of
from beamhouse.server.doors.openai.response_speaker import ResponseSpeaker
from beamhouse.server.doors.openai.sampling import gather_logprobs, gather_sampling
from beamhouse.server.doors.openai.telling import wanted_of
from beamhouse.server.edge.document import examples
from beamhouse.server.edge.strict_json import Served, StrictRequest
from beamhouse.server.service import Model

NO_PLACE = ("prompt_logprobs", "return_token_ids", "return_tokens_as_token_ids", "best_of")
"""Fields of the other routes for which a response has no place; `outputs` tells what they would."""
router = APIRouter(route_class=OpenAIRoute, tags=["OpenAI"])


@router.post(
    "/v1/responses",
    responses=answered(ResponseAnswer, ResponseEvent, has_done=False),
    openapi_extra=examples(
        stream={"model": "builtin", "input": "Once upon a time", "max_output_tokens": 32, "stream": True},
        likeliest={
            "input": [{"role": "user", "content": "Once upon a time"}],
            "temperature": 0,
            "max_output_tokens": 16,
        },
    ),
)
async def respond(body: ResponsesRequest, request: StrictRequest, service: Served) -> Response:
    """Go on with a conversation, of which nothing is stored.

    The fields are OpenAI's, with what vLLM and llama.cpp add to them, and every field of `generate()` by its own name.
    """
    model = await service.model()
    check_model_name(service, model, body.model)
    return await speak(request, service, translate_response(body, model), lambda run: speaker_of(run, body))


def speaker_of(run: Run, body: ResponsesRequest) -> ResponseSpeaker:
    return ResponseSpeaker(run, body, readers_of(run, expected_of(body), shows_special(body))[0])


def translate_response(body: ResponsesRequest, model: Model) -> GenerateRequest:
    """What a body asks for in our own words. Raises InvalidRequest."""
    check_places(body)
    asked, expected = gather_sampling(body, model.config), expected_of(body)
    turns = conversation_of(body.instructions, body.input, knows_developers(model.info.chat_template))
    gather_turns(asked, turns, "input")
    if expected.tools:
        asked.put("tools", expected.tools, "tools")
        asked.given_names |= {f"tools.{index}.function": f"tools.{index}" for index in range(len(expected.tools))}
    asked.put(VARIABLES, body.chat_template_kwargs, VARIABLES)
    if body.reasoning is not None and body.reasoning.effort is not None:
        put_variable(asked, "reasoning_effort", body.reasoning.effort, "reasoning.effort")
    gather_expected(asked, expected, model)
    asked.put(MAX_NEW_TOKENS, body.max_output_tokens, "max_output_tokens")
    if not names_end(asked):
        asked.put("fill_context", True, "max_output_tokens")
    gather_text_logprobs(asked, body, expected.form(model))
    return asked.request()


def check_places(body: ResponsesRequest) -> None:
    """Raises InvalidRequest for what there is no place for in a response."""
    if wanted_of(body) > 1:
        raise invalid("n", ProblemCode.OUT_OF_RANGE, f"n is {wanted_of(body)}; allowed: 1, a response is one answer")
    for name in NO_PLACE:
        if getattr(body, name) not in (None, False):
            raise invalid(name, ProblemCode.NOT_SUPPORTED, f"not supported: {name}; a response has no place for it")


def gather_text_logprobs(asked: Gathering, body: ResponsesRequest, form: TurnFormat) -> None:
    """Those of the tokens of the text. Raises InvalidRequest where the turn may be more than that."""
    name = "include" if body.include else "top_logprobs"
    if not body.wants_logprobs:
        return
    if body.tools or form.reasoning is not None:
        message = f"{name} asks for log-probabilities, which a response tells of turns that can be nothing but text"
        raise invalid(name, ProblemCode.NOT_SUPPORTED, message)
    gather_logprobs(asked, body, body.top_logprobs or 0, name)


def expected_of(body: ResponsesRequest) -> Expected:
    """What is expected of the turn."""
    tools = [offered_tool(tool.name, tool.description, tool.parameters, tool.strict) for tool in body.tools or ()]
    held = None if body.text is None else body.text.format
    if held is not None:
        return Expected(tools, choice_of(body), held, "text.format")
    return Expected(tools, choice_of(body), body.response_format)
