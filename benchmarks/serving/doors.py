"""The same greedy stream asked for at each door of this server, in the words of its clients.

Pieces of text are no tokens: several may come together, and a part of a character is no piece. So what a stream gained
is read where its protocol tells it, at the end, and that is when it counts as arrived.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from benchmarks.cases.loads import Ask
from benchmarks.serving.dialects import UNKNOWN
from benchmarks.serving.wire import BadAnswer

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Door:
    """asked: the body for a text and a number of tokens. told: how many an event says were gained, if it does."""

    name: str
    path: str
    asked: Callable[[str, int], Fields]
    told: Callable[[Fields], int | None]


@dataclass(frozen=True, slots=True)
class AtDoor:
    """A door as a dialect: its prompts are texts."""

    door: Door
    tokenizer: Tokenizer

    @property
    def path(self) -> str:
        return self.door.path

    def body(self, ask: Ask) -> Fields:
        return self.door.asked(self.tokenizer.decode(ask.prompt), ask.num_new) | {"stream": True}

    def tokens(self, name: str, data: Fields) -> list[int]:
        if name == "error" or data.get("error"):
            raise BadAnswer(str(data))
        return [UNKNOWN] * (self.door.told(data) or 0)


def generation(number: int) -> Fields:
    return {"do_sample": False, "max_new_tokens": number, "min_new_tokens": number}


def said(text: str) -> list[Fields]:
    return [{"role": "user", "content": text}]


def usage_of(data: Fields, name: str) -> int | None:
    found: int | None = (data.get("usage") or {}).get(name)
    return found


def native(text: str, number: int) -> Fields:
    return {"inputs": text, "generation_config": generation(number)}


def openai(number: int) -> Fields:
    lengths = {"max_tokens": number, "min_tokens": number}
    return {"model": "any", "temperature": 0, **lengths, "stream_options": {"include_usage": True}}


def responses(text: str, number: int) -> Fields:
    least = {"min_new_tokens": number}
    return {
        "model": "any",
        "input": text,
        "temperature": 0,
        "max_output_tokens": number,
        "generation_config": least,
    }


def tgi(text: str, number: int) -> Fields:
    return {"inputs": text, "parameters": {**generation(number), "details": True}}


def anthropic(text: str, number: int) -> Fields:
    least = {"min_new_tokens": number}
    return {
        "model": "any",
        "messages": said(text),
        "max_tokens": number,
        "temperature": 0,
        "generation_config": least,
    }


def told_by_openai(data: Fields) -> int | None:
    return usage_of(data, "completion_tokens")


def told_by_responses(data: Fields) -> int | None:
    return usage_of(data["response"], "output_tokens") if data["type"] == "response.completed" else None


def told_by_tgi(data: Fields) -> int | None:
    found: int | None = (data.get("details") or {}).get("generated_tokens")
    return found


def told_by_anthropic(data: Fields) -> int | None:
    return usage_of(data, "output_tokens") if data["type"] == "message_delta" else None


DOORS = (
    Door("native", "/generate", native, lambda data: usage_of(data, "generated_tokens")),
    Door(
        "OpenAI completions",
        "/v1/completions",
        lambda text, number: {"prompt": text, **openai(number)},
        told_by_openai,
    ),
    Door(
        "OpenAI chat",
        "/v1/chat/completions",
        lambda text, number: {"messages": said(text), **openai(number)},
        told_by_openai,
    ),
    Door("OpenAI responses", "/v1/responses", responses, told_by_responses),
    Door("TGI", "/generate_stream", tgi, told_by_tgi),
    Door("Anthropic", "/v1/messages", anthropic, told_by_anthropic),
)
"""The first is what the others are held against."""
