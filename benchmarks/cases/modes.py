"""The requests of the rounds in which decoding modes are compared: plain data that every side can be asked."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from beamhouse.server.command.bench.modes import GREEDY, Mode, Needs
from benchmarks.cases.answers import Answer
from benchmarks.cases.prompts import draw_ids

PHRASE_TOKENS = 2


class EndedEarly(Exception):
    """An answer is shorter than asked for, so its tokens per second would not compare."""


@dataclass(frozen=True, slots=True)
class Request:
    """runs: the decoding mode that must answer. config: fields of GenerationConfig.

    has_draft: the draft model proposes tokens.
    """

    runs: str
    prompt: list[int]
    config: dict[str, Any]
    seed: int
    negative_prompt: list[int] | None = None
    has_draft: bool = False

    @property
    def num_new(self) -> int:
        num_new: int = self.config["max_new_tokens"]
        return num_new

    def as_greedy(self) -> "Request":
        """The same prompt and length without what the mode adds."""
        config = GREEDY | {name: self.config[name] for name in ("max_new_tokens", "eos_token_id")}
        return replace(self, runs="greedy_search", config=config, negative_prompt=None, has_draft=False)


@dataclass(frozen=True, slots=True)
class Drawing:
    """How requests are drawn. end_id: a token that no answer leads to; drafting: the fields of drafts. write: a text of
    so many tokens by the model itself, from a seed: what a draft is worth shows in text alone, not in random tokens.

    The end token of the model would make lengths differ, and forbidding it takes a processor whose cost is not the
    mode's.
    """

    seed: int
    vocab_size: int
    prompt_tokens: int
    new_tokens: int
    end_id: int
    drafting: dict[str, Any]
    write: Callable[[int, int], list[int]]

    def rounds(self, mode: Mode, num_requests: int, num_rounds: int) -> list[list[Request]]:
        """No prompt comes twice, so that no cache of prefixes answers."""
        draw = random.Random(f"{self.seed} {mode.name} {num_requests}")
        return [[self._request(mode, draw) for _ in range(num_requests)] for _ in range(num_rounds)]

    def _request(self, mode: Mode, draw: random.Random) -> Request:
        if mode.is_drafting:
            prompt = self.write(draw.randrange(2**31), self.prompt_tokens)
        else:
            prompt = draw_ids(draw, self.prompt_tokens, self.vocab_size)
        config = mode.config | {"max_new_tokens": self.new_tokens, "eos_token_id": self.end_id}
        negative_prompt = None
        if mode.needs is Needs.PHRASE:
            config["force_words_ids"] = [draw_ids(draw, PHRASE_TOKENS, self.vocab_size)]
        elif mode.needs is Needs.NEGATIVE_PROMPT:
            negative_prompt = draw_ids(draw, self.prompt_tokens, self.vocab_size)
        elif mode.needs is Needs.PROMPT_LOOKUP:
            config["prompt_lookup_num_tokens"] = self.drafting["num_assistant_tokens"]
        elif mode.needs is Needs.DRAFT_MODEL:
            config |= self.drafting
        seed = draw.randrange(2**31)
        return Request(mode.runs, prompt, config, seed, negative_prompt, mode.needs is Needs.DRAFT_MODEL)


def check_lengths(side: str, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
    """Raises EndedEarly; a row that was filled up behind its end token counts as short too."""
    for request, answer in zip(requests, answers, strict=True):
        num_new = len(answer.token_ids)
        if num_new != request.num_new or request.config["eos_token_id"] in answer.token_ids[:-1]:
            raise EndedEarly(f"{side} ended {request.runs} before its {request.num_new} tokens; choose another --seed")
