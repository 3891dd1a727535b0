"""Reads the streams of OpenAI's protocol as its clients do."""

import json
from typing import Any

import httpx


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    """Every chunk before `[DONE]`, which has to be the last event."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.replace("\r\n", "\n").split("\n\n") if block and block[0] != ":"]
    assert blocks[-1] == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks[:-1]]
