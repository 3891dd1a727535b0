"""The server's side of a round of modes: concurrent plain requests over HTTP."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from benchmarks.cases.modes import Request
from benchmarks.report.measures import Answer

DRAFT_NAME = "draft"
"""Under which the server holds the draft model."""

STOP_S = 40.0
POLL_S = 0.2


class ServerFailed(Exception):
    """The server ended, did not get ready, or answered with an error."""


@contextmanager
def started_server(options: dict[str, str], wait_s: float) -> Iterator[str]:
    """A server with these settings on a free port, stopped at the end; its address, once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    command = [sys.executable, "-m", "beamhouse.server", "serve", f"--port={port}", "--log-level=warning", *arguments]
    with subprocess.Popen(command) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_ready(address, process, wait_s)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_ready(address: str, process: subprocess.Popen[bytes], wait_s: float) -> None:
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ServerFailed(f"the server ended with exit status {process.returncode}")
        try:
            if httpx.get(f"{address}/health/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_S)
    raise ServerFailed(f"the server was not ready within {wait_s} s")


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
