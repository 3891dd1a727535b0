"""The server's side of a round: concurrent requests over HTTP, streamed or plain."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from benchmarks.measures import Answer, Workload
from benchmarks.requests import Request

Asked = TypeVar("Asked")
Ask = Callable[[httpx.AsyncClient, Asked, float], Awaitable[Answer]]
"""Sends one request; the number is the start of the round."""

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
    command = [sys.executable, "-m", "server", "serve", f"--port={port}", "--log-level=warning", *arguments]
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


def serve_round(address: str, workload: Workload) -> list[Answer]:
    """All prompts at once, as streams, each on a connection of its own."""

    async def ask(client: httpx.AsyncClient, prompt: list[int], start: float) -> Answer:
        return await _stream(client, prompt, workload.num_new, start)

    return asyncio.run(_at_once(address, ask, workload.prompts))


def answer_round(address: str, requests: Sequence[Request]) -> list[Answer]:
    """All requests at once, each on a connection of its own; a whole answer arrives with its last token."""
    return asyncio.run(_at_once(address, _whole, requests))


async def _at_once(address: str, ask: Ask[Asked], asked: Sequence[Asked]) -> list[Answer]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=None) as client:
        await client.get("/health/live")
        start = time.perf_counter()
        return list(await asyncio.gather(*(ask(client, one, start) for one in asked)))


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


async def _stream(client: httpx.AsyncClient, prompt: list[int], num_new: int, start: float) -> Answer:
    config = {"do_sample": False, "max_new_tokens": num_new, "min_new_tokens": num_new}
    body = {"inputs": prompt, "generation_config": config, "stream": True}
    answer = Answer([], [])
    async with client.stream("POST", "/generate", json=body) as response:
        if not response.is_success:
            raise ServerFailed((await response.aread()).decode(errors="replace"))
        async for name, data in events(response.aiter_lines()):
            if name == "error":
                raise ServerFailed(str(data.get("detail", data)))
            new = data["token_ids"] if name == "tokens" else [data["token_id"]] if name == "token" else []
            answer.token_ids.extend(new)
            answer.arrived_s.extend([time.perf_counter() - start] * len(new))
    if len(answer.token_ids) != num_new:
        raise ServerFailed(f"a stream ended after {len(answer.token_ids)} of {num_new} tokens")
    return answer


async def events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The name and the data of each server-sent event; comments are left out."""
    name, data = "", ""
    async for line in lines:
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            data += line.removeprefix("data:").strip()
        elif not line and data:
            yield name, json.loads(data)
            name, data = "", ""
