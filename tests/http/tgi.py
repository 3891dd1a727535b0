"""Asks TGI's routes."""

import json
from typing import Any

import httpx


async def ask(client: httpx.AsyncClient, path: str, parameters: dict[str, Any] | None = None, **beside: Any) -> Any:
    response = await client.post(path, json={"inputs": "ab", "parameters": parameters, **beside})
    assert response.status_code == 200, response.text
    return response.json()


async def stream(client: httpx.AsyncClient, parameters: dict[str, Any], path: str = "/generate_stream", **beside: Any):
    response = await client.post(path, json={"inputs": "ab", "parameters": parameters, **beside})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.text.splitlines() if line]
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]
