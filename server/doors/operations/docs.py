"""`GET /docs`: the reference manual, one page of our own that reads /openapi.json; nothing comes from elsewhere."""

from importlib.resources import files

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from beamhouse.schemas.words import ErrorCode
from beamhouse.server.edge.errors import Refused

router = APIRouter(include_in_schema=False)
KINDS = {"docs.html": "text/html", "docs.css": "text/css", "docs.js": "text/javascript"}
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/")
def front() -> Response:
    """Whoever comes with a browser is shown what there is."""
    return RedirectResponse("docs")


@router.get("/docs")
def page() -> Response:
    return static_file("docs.html")


@router.get("/docs/{name}")
def asset(name: str) -> Response:
    if name not in KINDS:
        raise Refused(404, ErrorCode.NOT_FOUND, "there is no such file")
    return static_file(name)


def static_file(name: str) -> Response:
    content = files("beamhouse.server").joinpath("static", name).read_bytes()
    return Response(content, media_type=f"{KINDS[name]}; charset=utf-8", headers=HEADERS)
