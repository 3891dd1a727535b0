"""What is asked of every server, in tokens: closed loops, a burst of prompts, a long context, and mixed arrivals."""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

WORD = re.compile("Ġ[a-z]+")
"""Words behind a space in a byte-level vocabulary: written as text they become the same tokens again."""

MIXED_PROMPT, MIXED_NEW = (16, 512), (16, 256)
"""Shortest and longest prompt and answer of the mixed load, in tokens."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt, by how many tokens it is continued, and when it is asked at the earliest."""

    prompt: list[int]
    num_new: int
    at_s: float = 0.0


Lanes = list[list[Ask]]
"""Each lane asks one request after another; the lanes run at the same time."""


@dataclass(frozen=True, slots=True)
class Load:
    """One scenario. draw: its lanes, from a generator and the tokens to draw prompts of.

    max_rounds: how often it is run at most, where one run takes minutes.
    """

    name: str
    title: str
    draw: Callable[[random.Random, Sequence[int]], Lanes]
    max_rounds: int | None = None

    def lanes(self, seed: int, number: int, words: Sequence[int]) -> Lanes:
        """The same for every server in the same round, and never the same prompt twice."""
        return self.draw(random.Random(f"{seed} {self.name} {number}"), words)

    def longest(self, seed: int, words: Sequence[int]) -> int:
        """Tokens of the longest request, prompt and answer together."""
        return max(len(ask.prompt) + ask.num_new for lane in self.lanes(seed, 1, words) for ask in lane)


def closed_loop(num_streams: int, num_prompt: int, num_new: int, num_waves: int) -> Load:
    def draw(rng: random.Random, words: Sequence[int]) -> Lanes:
        return [[Ask(rng.choices(words, k=num_prompt), num_new) for _ in range(num_waves)] for _ in range(num_streams)]

    title = f"{num_streams} stream{'s' * (num_streams > 1)}, {num_prompt} in / {num_new} out"
    return Load(f"streams-{num_streams}", title, draw)


def burst(name: str, title: str, num_prompts: int, num_prompt: int, num_new: int) -> Load:
    """All at once, each prompt once."""
    return Load(name, title, closed_loop(num_prompts, num_prompt, num_new, 1).draw)


def mixed(num_requests: int, rate: float) -> Load:
    """Lengths are drawn evenly, arrivals as a Poisson process of `rate` requests a second."""

    def draw(rng: random.Random, words: Sequence[int]) -> Lanes:
        times = arrivals(rng, num_requests, rate)
        return [[Ask(rng.choices(words, k=rng.randint(*MIXED_PROMPT)), rng.randint(*MIXED_NEW), at)] for at in times]

    return Load("mixed", f"{num_requests} mixed requests, {rate:g} a second", draw, max_rounds=1)


def arrivals(rng: random.Random, num_requests: int, rate: float) -> list[float]:
    """Times in seconds, ascending; the gaps are drawn from an exponential distribution."""
    times, now = [], 0.0
    for _ in range(num_requests):
        now += rng.expovariate(rate)
        times.append(now)
    return times


def word_ids(model: Path) -> list[int]:
    """Tokens that prompts are made of, in ascending order."""
    vocabulary = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return sorted(number for token, number in vocabulary.items() if WORD.fullmatch(token))


PREFILL = burst("prefill", "8 prompts of 128, first token", 8, 128, 1)
CONTEXT = burst("context", "1 stream, 2048 in / 32 out", 1, 2048, 32)
LOADS = (
    closed_loop(1, 128, 64, 2),
    closed_loop(8, 128, 64, 2),
    closed_loop(32, 128, 64, 2),
    PREFILL,
    CONTEXT,
    mixed(16, 0.3),
)
