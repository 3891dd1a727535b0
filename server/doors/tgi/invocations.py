"""`POST /invocations`: SageMaker's one path for all bodies."""

from typing import Any

from fastapi import APIRouter, Response

from beamhouse.schemas.tgi.answers import TgiAnswer
from beamhouse.schemas.tgi.requests import TgiRequest
from beamhouse.server.doors.tgi.routes import EXAMPLES, PROBLEMS, STREAMED, TAG, StreamingTgiRoute, tgi_root
from beamhouse.server.doors.whose import invocation_of
from beamhouse.server.edge.meeting import MeetingRoute
from beamhouse.server.edge.strict_json import Served, StrictRequest


class InvocationRoute(MeetingRoute, StreamingTgiRoute):
    """Here the bodies of all protocols meet."""

    meant = staticmethod(invocation_of)


router = APIRouter(route_class=InvocationRoute, tags=[TAG], responses=PROBLEMS)
ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": STREAMED}}


@router.post("/invocations", response_model=list[TgiAnswer], responses=ANSWERS, openapi_extra=EXAMPLES)
async def invoke(body: TgiRequest, request: StrictRequest, service: Served) -> Response:
    """Answers as `POST /` does. A body with `messages` or `prompt` is answered as OpenAI's routes do, one of our own as
    `POST /generate` does."""
    return await tgi_root(body, request, service)
