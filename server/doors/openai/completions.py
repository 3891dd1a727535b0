"""`POST /v1/completions`: prompts of text or ids and how they go on, in OpenAI's words."""

from fastapi import APIRouter, Response

from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.openai.answers import Completion
from beamhouse.schemas.openai.completions import DEFAULT_MAX_TOKENS, CompletionRequest
from beamhouse.server.answering.speaking import speak
from beamhouse.server.asking.constraint import hold_to
from beamhouse.server.asking.drawing import MAX_NEW_TOKENS, PROMPT_ONLY, names_end
from beamhouse.server.asking.model_name import check_model_name
from beamhouse.server.doors.openai.completion_speaker import CompletionSpeaker
from beamhouse.server.doors.openai.dialect import OpenAIRoute
from beamhouse.server.doors.openai.documented import answered
from beamhouse.server.doors.openai.sampling import gather_logprobs, gather_sampling
from beamhouse.server.edge.document import examples
from beamhouse.server.edge.strict_json import Served, StrictRequest

EXAMPLES = examples(
    stream={"model": "builtin", "prompt": "Once upon a time", "max_tokens": 32, "seed": 7, "stream": True},
    beams={"prompt": "Once upon a time", "max_tokens": 16, "num_beams": 4, "n": 2},
    log_probabilities={"prompt": "Once upon a time", "max_tokens": 4, "temperature": 0, "logprobs": 3, "echo": True},
)
router = APIRouter(route_class=OpenAIRoute, tags=["OpenAI"])


@router.post("/v1/completions", responses=answered(Completion, Completion), openapi_extra=EXAMPLES)
async def complete(body: CompletionRequest, request: StrictRequest, service: Served) -> Response:
    """Continue one prompt or several.

    The fields are OpenAI's, with what vLLM and llama.cpp add to them, and every field of `generate()` by its own name.
    """
    model = await service.model()
    check_model_name(service, model, body.model)
    native = translate_completion(body, model.config)
    return await speak(request, service, native, lambda run: CompletionSpeaker(run, body))


def translate_completion(body: CompletionRequest, file: GenerationConfig) -> GenerateRequest:
    """What a body asks for in our own words. file: the model's own configuration. Raises InvalidRequest."""
    asked = gather_sampling(body, file)
    asked.put("inputs", body.prompt, "prompt")
    if body.response_format is not None:
        hold_to(asked, body.response_format.held(), "response_format")
    if not names_end(asked):
        asked.put(MAX_NEW_TOKENS, DEFAULT_MAX_TOKENS, "max_tokens")
    is_prompt_alone = asked.get(MAX_NEW_TOKENS) == 0
    if is_prompt_alone:
        asked.drop(MAX_NEW_TOKENS)
        asked.put(PROMPT_ONLY, True, "max_tokens")
    if body.logprobs is not None and not is_prompt_alone:
        gather_logprobs(asked, body, body.logprobs, "logprobs")
    if body.logprobs is not None and body.echo:
        asked.put("outputs.prompt_logprobs", True, "logprobs")
        asked.put("outputs.prompt_top_n_tokens", body.logprobs or None, "logprobs")
    return asked.request()
