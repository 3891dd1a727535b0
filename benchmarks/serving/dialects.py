"""How each kind of server is asked for exactly so many greedy tokens, and what its events say."""

from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from beamhouse.server.command.bench.doors import GREEDY, NATIVE
from benchmarks.cases.loads import Ask
from benchmarks.serving.wire import BadAnswer

UNKNOWN = -1
"""The token of an event that tells text only."""


class Native:
    """`POST /generate` of this server."""

    path = NATIVE.path

    def body(self, ask: Ask) -> dict[str, Any]:
        return NATIVE.body(ask.prompt, ask.num_new, GREEDY)

    def tokens(self, name: str, data: dict[str, Any]) -> list[int]:
        if name == "error":
            raise BadAnswer(str(data.get("detail", data)))
        many: list[int] = data["token_ids"] if name == "tokens" else [data["token_id"]] if name == "token" else []
        return many


class Completion:
    """`POST /completion` of llama.cpp. The one sampler it keeps is the cheapest that is greedy."""

    path = "/completion"

    def body(self, ask: Ask) -> dict[str, Any]:
        greedy = {"samplers": ["top_k"], "top_k": 1, "ignore_eos": True}
        asked = {"prompt": ask.prompt, "n_predict": ask.num_new, "stream": True, "return_tokens": True}
        return asked | greedy | {"cache_prompt": False}

    def tokens(self, name: str, data: dict[str, Any]) -> list[int]:
        if "error" in data:
            raise BadAnswer(str(data["error"]))
        token_ids: list[int] = data["tokens"]
        return token_ids


@dataclass(frozen=True, slots=True)
class TextCompletion:
    """`POST /v1/completions` with the prompt as text; each piece of text is a token, as the vocabulary is of words."""

    tokenizer: Tokenizer
    model: str

    @property
    def path(self) -> str:
        return "/v1/completions"

    def body(self, ask: Ask) -> dict[str, Any]:
        text = self.tokenizer.decode(ask.prompt)
        return {"model": self.model, "prompt": text, "max_tokens": ask.num_new, "temperature": 0.0, "stream": True}

    def tokens(self, name: str, data: dict[str, Any]) -> list[int]:
        if "error" in data:
            raise BadAnswer(str(data["error"]))
        return [UNKNOWN for choice in data["choices"] if choice["text"]]
