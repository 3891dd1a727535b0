"""How each door is asked for exactly so many tokens as a stream, and what its events say of them.

Pieces of text are no tokens: several may come together, and a part of a character is no piece. So what a stream gained
is read where its protocol tells it, mostly at the end, and its pieces only tell when something came.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]
Prompt = str | list[int]
"""Token ids are for the native door alone."""
GREEDY: Fields = {"generation_config": {"do_sample": False}}
CONFIG = "generation_config"
ENDS_OF_RESPONSES = ("response.completed", "response.incomplete")
"""An answer that the number of its tokens ends is an incomplete one."""


@dataclass(frozen=True, slots=True)
class Door:
    """asked: the body for a prompt, a number of tokens, and fields of our own `POST /generate`.

    told: how many tokens an event says were gained in all, if it does. came: how many an event shows to have come.
    """

    name: str
    path: str
    asked: Callable[[Any, int, Fields], Fields]
    told: Callable[[Fields], int | None]
    came: Callable[[Fields], int]

    def body(self, prompt: Prompt, number: int, fields: Fields) -> Fields:
        """Of a request for a stream."""
        return self.asked(prompt, number, fields) | {"stream": True}


def failure_in(name: str, data: Fields) -> str | None:
    """What an event says went wrong, in any of the protocols."""
    if name != "error" and not data.get("error"):
        return None
    said = data.get("error", data)
    if not isinstance(said, dict):  # TGI's, whose text says more than one knows beforehand
        return str(data.get("error_type", said))
    return str(said.get("code") or said.get("type") or said)


def exactly(number: int) -> Fields:
    return {"max_new_tokens": number, "min_new_tokens": number}


def conversation(text: str) -> list[Fields]:
    return [{"role": "user", "content": text}]


def native(text: Prompt, number: int, fields: Fields) -> Fields:
    return {"inputs": text, **fields, CONFIG: {**fields.get(CONFIG, {}), **exactly(number)}}


def others(fields: Fields, least: Fields) -> Fields:
    """Our own fields in the body of another protocol, which says by its temperature whether it draws."""
    config = dict(fields.get(CONFIG, {})) | least
    temperature = 1 if config.pop("do_sample", False) else 0
    beside = {name: value for name, value in fields.items() if name != CONFIG}
    return {"model": "any", "temperature": temperature, **beside, **({CONFIG: config} if config else {})}


def openai(number: int, fields: Fields) -> Fields:
    lengths = {"max_tokens": number, "min_tokens": number}
    return {**others(fields, {}), **lengths, "stream_options": {"include_usage": True}}


def responses(text: str, number: int, fields: Fields) -> Fields:
    return {"input": text, "max_output_tokens": number, **others(fields, {"min_new_tokens": number})}


def tgi(text: str, number: int, fields: Fields) -> Fields:
    config = fields.get(CONFIG, {}) | exactly(number)
    beside = {name: value for name, value in fields.items() if name != CONFIG}
    return {"inputs": text, "parameters": {**config, **beside, "details": True}}


def anthropic(text: str, number: int, fields: Fields) -> Fields:
    return {"messages": conversation(text), "max_tokens": number, **others(fields, {"min_new_tokens": number})}


def usage_of(data: Fields, name: str) -> int | None:
    found: int | None = (data.get("usage") or {}).get(name)
    return found


def told_by_responses(data: Fields) -> int | None:
    return usage_of(data["response"], "output_tokens") if data["type"] in ENDS_OF_RESPONSES else None


def told_by_tgi(data: Fields) -> int | None:
    found: int | None = (data.get("details") or {}).get("generated_tokens")
    return found


def told_by_anthropic(data: Fields) -> int | None:
    return usage_of(data, "output_tokens") if data["type"] == "message_delta" else None


def came_natively(data: Fields) -> int:
    """The answer at the end has no token of its own."""
    return len(data["token_ids"]) if "token_ids" in data else int("token_id" in data)


def has_text(choice: Fields) -> bool:
    delta = choice.get("delta") or {}
    return bool(choice.get("text") or delta.get("content") or delta.get("reasoning_content") or delta.get("tool_calls"))


def came_from_openai(data: Fields) -> int:
    return sum(has_text(choice) for choice in data.get("choices", ()))


NATIVE = Door("native", "/generate", native, lambda data: usage_of(data, "generated_tokens"), came_natively)
DOORS = (
    NATIVE,
    Door(
        "openai-completions",
        "/v1/completions",
        lambda text, number, fields: {"prompt": text, **openai(number, fields)},
        lambda data: usage_of(data, "completion_tokens"),
        came_from_openai,
    ),
    Door(
        "openai-chat",
        "/v1/chat/completions",
        lambda text, number, fields: {"messages": conversation(text), **openai(number, fields)},
        lambda data: usage_of(data, "completion_tokens"),
        came_from_openai,
    ),
    Door(
        "openai-responses",
        "/v1/responses",
        responses,
        told_by_responses,
        lambda data: int(data["type"].endswith(".delta")),
    ),
    Door("tgi", "/generate_stream", tgi, told_by_tgi, lambda data: int("token" in data)),
    Door(
        "anthropic",
        "/v1/messages",
        anthropic,
        told_by_anthropic,
        lambda data: int(data["type"] == "content_block_delta"),
    ),
)
"""The first is what the others are held against."""
