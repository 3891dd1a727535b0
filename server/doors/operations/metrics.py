"""`GET /metrics`: Prometheus text format."""

from fastapi import APIRouter, Response

from beamhouse.server.edge.strict_json import Served
from beamhouse.server.metrics import CONTENT_TYPE

router = APIRouter(tags=["service"])
TEXT = {"schema": {"type": "string"}}


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": TEXT}}})
async def metrics(service: Served) -> Response:
    """Counters and latencies of this server, also while the model loads."""
    return Response(service.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
