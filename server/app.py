"""The HTTP application: routes, error answers, and the engine's start and stop."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from beamhouse.config.settings import Settings
from beamhouse.engine.link.errors import EngineError
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.pydantic_problems import schema_of
from beamhouse.server.doors.anthropic import messages
from beamhouse.server.doors.anthropic.dialect import anthropic_dialect
from beamhouse.server.doors.beamhouse import generate, generation_config, scores, tokens, watermark
from beamhouse.server.doors.openai import chat, completions, models, responses
from beamhouse.server.doors.openai.dialect import openai_dialect
from beamhouse.server.doors.operations import docs, health, info, metrics
from beamhouse.server.doors.tgi import invocations
from beamhouse.server.doors.tgi import routes as tgi
from beamhouse.server.doors.tgi import tokens as tgi_tokens
from beamhouse.server.doors.transformers import loading
from beamhouse.server.edge.dialects import Dialect
from beamhouse.server.edge.document import DocumentedApp
from beamhouse.server.edge.errors import ClientGone, on_client_gone, on_crash, on_engine_error, on_http_error
from beamhouse.server.edge.methods import Methods
from beamhouse.server.edge.request_id import RequestId
from beamhouse.server.edge.validation import on_validation_error
from beamhouse.server.service import EngineLink, Service
from beamhouse.server.version import version

ROUTERS = (
    generate.router,
    tokens.router,
    scores.router,
    generation_config.router,
    watermark.router,
    models.router,
    completions.router,
    chat.router,
    responses.router,
    messages.router,
    loading.router,
    tgi.router,
    tgi_tokens.router,
    invocations.router,
    health.router,
    info.router,
    metrics.router,
    docs.router,
)
DIALECTS: dict[str, Dialect] = {"/v1/": openai_dialect, "/v1/messages": anthropic_dialect}
"""How problems are written on paths where there is no route, by the beginning of the path; elsewhere as our own."""
TAGS = (
    (
        "generation",
        "Our own protocol: every field of `GenerationConfig`, every mode; for `curl` and `beamhouse.client`.",
    ),
    (
        "OpenAI",
        "OpenAI's protocol, with what vLLM and llama.cpp add to it; for `openai`, LangChain, LiteLLM, Open WebUI, "
        "lm-eval, `transformers chat` and the `chat_completion` of `huggingface_hub`.",
    ),
    (
        "text-generation-inference",
        "TGI's protocol, for the `text_generation` of `huggingface_hub`, `text-generation` and SageMaker.",
    ),
    ("Anthropic", "Anthropic's protocol, for `anthropic` and coding agents."),
    ("scores", "Log-probabilities of given texts."),
    ("tokens", "From text to token ids and back."),
    ("watermark", "Whether a text is marked."),
    ("transformers", "The handshake of `transformers chat`, which then speaks OpenAI's protocol."),
    ("service", "For those who run the server: probes, limits, metrics."),
)
"""The groups of routes, in the order in which `/docs` shows them, and for whom they are."""
PROBLEM = {
    "model": ProblemJson,
    "description": "Why there is no answer",
}


def create_app(client: EngineLink, settings: Settings) -> FastAPI:
    """The application that serves `client`, which it starts and stops."""
    app = DocumentedApp(
        title="Beamhouse",
        summary="All of Hugging Face generate() over HTTP, continuously batched.",
        version=version(),
        lifespan=lifespan_of(client),
        openapi_tags=[{"name": name, "description": description} for name, description in TAGS],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": PROBLEM, 422: PROBLEM},
    )
    app.state.service = Service.of(client, settings)
    app.state.dialects = DIALECTS
    app.state.routes = {route.name: route for router in ROUTERS for route in router.routes if isinstance(route, Route)}
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(EngineError, on_engine_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(ClientGone, on_client_gone)
    app.add_exception_handler(Exception, on_crash)
    app.add_middleware(Methods, routes=[*app.routes, *(route for router in ROUTERS for route in router.routes)])
    app.add_middleware(RequestId)
    return app


def lifespan_of(client: EngineLink) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Start the engine with the application, and stop it after the last request."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        schema_of(GenerateRequest)  # made once, so that the first wrong request is not slow
        await client.start()
        try:
            yield
        finally:
            await client.stop()

    return lifespan
