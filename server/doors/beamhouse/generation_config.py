"""`/generation_config`: the defaults in force, stored configurations, and a check without generating."""

from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError

from beamhouse.engine.link.errors import invalid
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.service import DefaultsAnswer, ValidateAnswer, ValidateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.judge.asked import Prompt
from beamhouse.schemas.judge.judge import problems
from beamhouse.schemas.problems import MAX_SHOWN
from beamhouse.schemas.words import ErrorCode, ProblemCode
from beamhouse.server.asking.stored_configs import stored_config, stored_names
from beamhouse.server.asking.translate import asked_of, merge_for, plain, shown_config
from beamhouse.server.edge.document import examples
from beamhouse.server.edge.errors import Refused, field_problem
from beamhouse.server.edge.strict_json import Served, StrictRoute
from beamhouse.server.edge.validation import problems_of
from beamhouse.server.service import Model

router = APIRouter(prefix="/generation_config", route_class=StrictRoute, tags=["generation"])
EXAMPLES = examples(drawn_beams={"generation_config": {"num_beams": 4, "do_sample": True}})


@router.get("")
async def defaults(service: Served) -> DefaultsAnswer:
    """What holds where a request is silent: the model's own file over the library's defaults."""
    model = await service.model()
    config = merge_for(GenerationConfig(), 1, None, model)
    return DefaultsAnswer(
        generation_config={key: value for key, value in plain(config).items() if key != "max_length"}
        | plain(model.config),
        mode=config.get_generation_mode(),
        stored=await stored_names(service),
    )


@router.post("/validate", response_model_exclude_none=True, openapi_extra=EXAMPLES)
async def validate(body: ValidateRequest, service: Served) -> ValidateAnswer:
    """Which mode a configuration asks for, what it resolves to with this model, and everything wrong with it."""
    model = await service.model()
    if isinstance(body.generation_config, str):
        asked = await stored_config(service, body.generation_config)
        return verdict_on(asked, body, model)
    try:
        asked = GenerationConfig.model_validate(body.generation_config)
    except ValidationError as error:
        sent = {"generation_config": body.generation_config}
        located = [{**item, "loc": ("generation_config", *item["loc"])} for item in error.errors()]
        return ValidateAnswer(is_valid=False, problems=problems_of(located, sent, GenerateRequest), warnings=[])
    return verdict_on(asked, body, model)


@router.get("/{name}")
async def stored(name: str, service: Served) -> dict[str, Any]:
    """One stored configuration, its set fields."""
    if name not in await stored_names(service):
        raise Refused(404, ErrorCode.NOT_FOUND, f"no configuration is stored under {name[:MAX_SHOWN]}")
    return plain(shown_config(await stored_config(service, name)))


@router.put("/{name}")
async def store(name: str) -> None:
    """Storing configurations over HTTP is refused; they are files in the directory `stored_configs`."""
    raise invalid(
        "",
        ProblemCode.NOT_SUPPORTED,
        f"not supported yet: storing {name[:MAX_SHOWN]} over HTTP; put a file on the server",
    )


def verdict_on(own: GenerationConfig, body: ValidateRequest, model: Model) -> ValidateAnswer:
    assistant_model = body.assistant_model
    merged = merge_for(own, body.prompt_len, assistant_model, model)
    prompt = Prompt([], "inputs", num_unknown=body.prompt_len)
    asked = asked_of(GenerateRequest(assistant_model=assistant_model), own, [prompt], model)
    found = problems(asked, model.facts)
    return ValidateAnswer(
        is_valid=not found,
        mode=asked.config.mode,
        generation_config=plain(shown_config(merged)),
        problems=[field_problem(problem) for problem in found],
        warnings=merged.warnings(own.set_fields().keys(), assistant_model),
    )
