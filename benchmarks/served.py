"""The server's side of a round: concurrent event streams over HTTP."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from benchmarks.measures import Answer, Workload

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
    """All prompts at once, each on a connection of its own."""
    return asyncio.run(_all_streams(address, workload))


async def _all_streams(address: str, workload: Workload) -> list[Answer]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=None) as client:
        await client.get("/health/live")
        start = time.perf_counter()
        streams = [_stream(client, prompt, workload.num_new, start) for prompt in workload.prompts]
        return list(await asyncio.gather(*streams))


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
