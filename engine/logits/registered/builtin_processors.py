"""Registered logits processors that come with the server, and models of how to write one."""

import re
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

NUM_CHARACTERS = 0x110000
REPLACEMENT = "\ufffd"
_RANGE = re.compile(r".|.-.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TokenCharacters:
    """The characters of all tokens, one after the other, so that a class of characters is looked up in one go.

    codes: of each character. owners: the token it belongs to. A byte that is no text by itself is U+FFFD.
    """

    codes: npt.NDArray[np.uint32]
    owners: npt.NDArray[np.int64]
    num_tokens: int

    @classmethod
    def of(cls, token_bytes: Seq[bytes]) -> "TokenCharacters":
        texts = [one.decode("utf-8", "replace") for one in token_bytes]
        codes = np.frombuffer("".join(texts).encode("utf-32-le"), "<u4")
        return cls(codes, np.repeat(np.arange(len(texts)), [len(text) for text in texts]), len(texts))

    def holding(self, is_asked: npt.NDArray[np.bool_], vocab_size: int) -> npt.NDArray[np.bool_]:
        """Which tokens hold one of the characters asked for. is_asked: (NUM_CHARACTERS,). Returns (vocab_size,)."""
        owners = self.owners[is_asked[self.codes]]
        found = np.zeros(vocab_size, np.bool_)
        found[owners[owners < vocab_size]] = True
        return found


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
        token_characters: TokenCharacters | None,
        eos_token_ids: Seq[int],
        vocab_size: int,
    ) -> None:
        if token_characters is None:
            raise ValueError("this model has no tokenizer")
        if not (allow or deny):
            raise ValueError("allow or deny must hold a range")
        is_bad = np.zeros(NUM_CHARACTERS, np.bool_)
        if allow:
            is_bad |= ~_covered(allow)
        if deny:
            is_bad |= _covered(deny)
            is_bad[ord(REPLACEMENT)] = True
        is_banned = torch.from_numpy(token_characters.holding(is_bad, vocab_size))
        is_banned[token_characters.num_tokens :] = True
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


def _covered(ranges: list[str]) -> npt.NDArray[np.bool_]:
    """Which of all characters lie in one of the ranges. (NUM_CHARACTERS,)"""
    changes = np.zeros(NUM_CHARACTERS + 1, np.int32)
    for entry in ranges:
        if not isinstance(entry, str) or not _RANGE.fullmatch(entry):
            raise ValueError(f"{entry!r} is neither a character nor a range like a-z")
        first, last = ord(entry[0]), ord(entry[-1])
        if first > last:
            raise ValueError(f"{entry!r} runs backwards")
        changes[first] += 1
        changes[last + 1] -= 1
    return changes[:-1].cumsum() > 0
