"""The server's side of a round of modes: concurrent plain requests over HTTP."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx

from benchmarks.cases.answers import Answer
from benchmarks.cases.modes import Request

DRAFT_NAME = "draft"
"""Under which the server holds the draft model."""


class ServerFailed(Exception):
    """The server answered with an error, or in another mode."""


def server_info(address: str) -> dict[str, Any]:
    """What `GET /info` tells."""
    answer = httpx.get(f"{address}/info").raise_for_status()
    info: dict[str, Any] = answer.json()
    return info


def answer_round(address: str, requests: Sequence[Request]) -> list[Answer]:
    """All requests at once, each on a connection of its own; a whole answer arrives with its last token."""
    return asyncio.run(_at_once(address, requests))


async def _at_once(address: str, requests: Sequence[Request]) -> list[Answer]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=None) as client:
        await client.get("/health/live")
        start = time.perf_counter()
        return list(await asyncio.gather(*(_whole(client, request, start) for request in requests)))


async def _whole(client: httpx.AsyncClient, request: Request, start: float) -> Answer:
    response = await client.post("/generate", json=body_of(request))
    end = time.perf_counter() - start
    if not response.is_success:
        raise ServerFailed(response.text)
    answer = response.json()
    if answer["mode"] != request.runs:
        raise ServerFailed(f"the server ran {answer['mode']} in place of {request.runs}")
    token_ids, usage = answer["sequences"][0]["token_ids"], answer["usage"]
    return Answer(token_ids, [end] * len(token_ids), usage["drafted_tokens"], usage["accepted_tokens"])


def body_of(request: Request) -> dict[str, Any]:
    """The body of `POST /generate`. Modes that are asked the same prompt do not share its cached blocks."""
    body = {
        "inputs": request.prompt,
        "generation_config": request.config,
        "seed": request.seed,
        "mode": request.runs,
        "cache_salt": request.runs,
    }
    if request.negative_prompt is not None:
        body["negative_prompt_ids"] = request.negative_prompt
    if request.has_draft:
        body["assistant_model"] = DRAFT_NAME
    return body
