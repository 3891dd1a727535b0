"""Registered logits processors that come with the server, and models of how to write one."""

import re
from collections.abc import Sequence as Seq

import torch
from torch import Tensor

_RANGE = re.compile(r".|.-.", re.DOTALL)


class BlockCharacters:
    """Ban tokens by the characters of their text: those with one of `deny`, or one outside `allow`.

    Each entry is a character or a range, as "a-z" or "\u0400-\u04ff" (Cyrillic). A token that holds a part of a
    character is banned too, since nobody can say what it will become. End tokens are never banned.
    """

    def __init__(
        self,
        allow: list[str] | None = None,
        deny: list[str] | None = None,
        *,
        token_bytes: Seq[bytes] | None,
        eos_token_ids: Seq[int],
        vocab_size: int,
    ) -> None:
        if token_bytes is None:
            raise ValueError("this model has no tokenizer")
        if not (allow or deny):
            raise ValueError("allow or deny must hold a range")
        # Plain character classes: matching is linear, whatever a client sends.
        tests = [re.compile(f"[^{_class(allow)}]")] if allow else []
        tests += [re.compile(f"[{_class(deny)}\ufffd]")] if deny else []
        is_banned = torch.zeros(vocab_size, dtype=torch.bool)
        for token, text in enumerate(one.decode("utf-8", "replace") for one in token_bytes[:vocab_size]):
            is_banned[token] = any(test.search(text) for test in tests)
        is_banned[len(token_bytes) :] = True
        is_banned[[end for end in eos_token_ids if end < vocab_size]] = False
        self._is_banned = is_banned

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.masked_fill(self._is_banned.to(scores.device), -torch.inf)


class ForcePrefix:
    """Begin the generated text with given tokens."""

    def __init__(self, token_ids: list[int], *, prompt_len: int, vocab_size: int) -> None:
        if not token_ids or not all(type(token) is int and 0 <= token < vocab_size for token in token_ids):
            raise ValueError(f"token_ids must be a list of ids from 0 to {vocab_size - 1}")
        self._token_ids = token_ids
        self._prompt_len = prompt_len

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        place = input_ids.shape[1] - self._prompt_len
        if place >= len(self._token_ids):
            return scores
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self._token_ids[place]] = 0.0
        return forced


def _class(ranges: list[str]) -> str:
    parts = []
    for entry in ranges:
        if not isinstance(entry, str) or not _RANGE.fullmatch(entry):
            raise ValueError(f"{entry!r} is neither a character nor a range like a-z")
        if ord(entry[0]) > ord(entry[-1]):
            raise ValueError(f"{entry!r} runs backwards")
        parts.append("-".join(re.escape(end) for end in (entry[0], entry[-1])))
    return "".join(parts)
