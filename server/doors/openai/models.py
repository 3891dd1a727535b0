"""`GET /v1/models`: what is served."""

from fastapi import APIRouter, Response

from beamhouse.schemas.openai.answers import ModelCard, ModelList
from beamhouse.server.answering.answer_json import json_response
from beamhouse.server.asking.model_name import unknown_model
from beamhouse.server.doors.openai.dialect import OpenAIRoute
from beamhouse.server.doors.openai.documented import answered
from beamhouse.server.edge.strict_json import Served
from beamhouse.server.service import Service

router = APIRouter(route_class=OpenAIRoute, tags=["OpenAI"])


@router.get("/v1/models", responses=answered(ModelList))
async def list_models(service: Served) -> Response:
    """The served model, as a list of one."""
    return json_response(ModelList([await card_of(service)]))


@router.get("/v1/models/{name:path}", responses=answered(ModelCard))
async def retrieve_model(name: str, service: Served) -> Response:
    """The served model, by its name."""
    card = await card_of(service)
    if name != card.id:
        raise unknown_model(await service.model(), name)
    return json_response(card)


async def card_of(service: Service) -> ModelCard:
    info = (await service.model()).info
    return ModelCard(info.model_id, int(service.started_at), "beamhouse", info.most_tokens)
