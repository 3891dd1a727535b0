"""Requests as bytes, for bodies that no client library would make."""

import httpx

JSON = {"content-type": "application/json"}


async def post(client: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    return await client.post("/generate", content=body, headers={**JSON, **headers})
