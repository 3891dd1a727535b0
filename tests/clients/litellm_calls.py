"""Asks a server by `litellm` and prints what it told: `python -m tests.clients.litellm_calls URL`.

The package leaves connections and an event loop open, so it has a process of its own.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import litellm

STORY = [{"role": "user", "content": "Once upon a time"}]
PROMPT = "Once upon a time"


def main(url: str) -> dict[str, Any]:
    asked: dict[str, Any] = {"api_base": f"{url}/v1", "api_key": "none", "max_tokens": 12, "seed": 3, "num_retries": 0}
    chat = {"model": "openai/any", "messages": STORY, **asked}
    text = {"model": "text-completion-openai/any", "prompt": PROMPT, **asked}
    said, written = litellm.completion(**chat), litellm.text_completion(**text)
    chunks = list(litellm.completion(**chat, stream=True))
    pieces = list(litellm.text_completion(**text, stream=True))
    return {
        "chat": said.choices[0].message.content,
        "chat tokens": said.usage.completion_tokens,
        "chat end": said.choices[0].finish_reason,
        "chat stream": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "chat stream end": chunks[-1].choices[0].finish_reason,
        "text": written.choices[0].text,
        "text tokens": written.usage.completion_tokens,
        "text stream": "".join(piece.choices[0].text or "" for piece in pieces),
        "beams": litellm.completion(**chat, extra_body={"num_beams": 3}).choices[0].message.content,
        "too long": error_of(lambda: litellm.completion(**chat | {"max_tokens": 100_000})),
        "unknown": error_of(lambda: litellm.completion(**chat, extra_body={"nobody": 1})),
    }


def error_of(call: Callable[[], object]) -> str:
    """The kind of error that a call ends with, and what it says."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
