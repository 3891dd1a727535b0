"""Token healing: the last token of a prompt is chosen anew among the tokens that extend its text."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

BIAS = 10.0
BIAS_OF_ORIGINAL = 11.0
"""The original token is slightly favoured: `http` should become `https` only for a reason."""


@dataclass(frozen=True, slots=True)
class Healing:
    """How to heal a prompt: one greedy token after `prompt_ids` under `sequence_bias`, then go on after
    `kept_ids` and that token. Without a bias there is nothing to choose, and `kept_ids` are the whole prompt.

    The two prompts differ only where the tokenizer adds a start token: the library puts a padding token in its place,
    which it masks while healing, but not afterwards.
    """

    prompt_ids: list[int]
    sequence_bias: list[tuple[list[int], float]]
    kept_ids: list[int]


class Healer:
    """Equals `heal_tokens` of the library for one prompt, but heals also where that fails.

    The library looks for extensions of the decoded last token. Where decoding changes its spelling (a leading space),
    it raises KeyError; here its spelling in the vocabulary is extended. Nor must there be a start or padding token.
    """

    def __init__(
        self,
        vocabulary: dict[str, int],
        special_tokens: dict[str, str],
        encode: Callable[[str], list[int]],
        decode: Callable[[list[int], bool], str],
    ) -> None:
        self._vocabulary = vocabulary
        self._encode = encode
        self._decode = decode
        self._bos = vocabulary.get(special_tokens.get("bos_token", ""))
        self._eos = vocabulary.get(special_tokens.get("eos_token", ""))
        self._pad = vocabulary.get(special_tokens.get("pad_token", ""))
        self._unknown = vocabulary.get(special_tokens.get("unk_token", ""))

    def heal(self, prompt_ids: list[int]) -> Healing:
        """Nothing is to choose without text, for a single token without a start token, and without an extension.

        Even then the prompt comes back stripped and with padding for the start token.
        """
        token_ids = self._encode(self._decode(prompt_ids, True).strip())
        if self._pad is not None:
            token_ids = [self._pad if token_id == self._bos else token_id for token_id in token_ids]
        num_text = sum(token_id != self._pad for token_id in token_ids)
        if not num_text or len(token_ids) == 1:
            return Healing([], [], token_ids)
        *kept_ids, tail_id = token_ids
        extensions = self._extensions(self._tail_text(tail_id))
        if len(extensions) > 1 and tail_id not in extensions:
            extensions = self._extensions(self._spelling[tail_id])
        if len(extensions) == 1:
            return Healing([], [], token_ids)
        if num_text == 1 and self._bos is not None:
            kept_ids[-1] = self._bos
        bias = [([n], BIAS_OF_ORIGINAL if n == tail_id else BIAS) for n in extensions if n is not None]
        return Healing(self._attended(kept_ids), bias, kept_ids)

    @cached_property
    def _tokens(self) -> list[str]:
        return sorted(self._vocabulary)

    @cached_property
    def _spelling(self) -> dict[int, str]:
        return {token_id: token for token, token_id in self._vocabulary.items()}

    def _tail_text(self, tail_id: int) -> str:
        """The decoded token, its spaces spelled as the library spells them: by the first character of what the
        tokenizer has for a space, which is the unknown token in most vocabularies."""
        space_id = self._vocabulary.get(" ", self._unknown)
        text = self._decode([tail_id], False)
        return text if space_id is None else text.replace(" ", self._spelling[space_id][0])

    def _extensions(self, prefix: str) -> dict[int | None, None]:
        """Ids of the tokens that begin with `prefix`.

        As in the library's trie, a prefix no token begins with is cut to where one does, and what follows there is put
        after the whole prefix, which mostly spells no token (None, or the unknown token).
        """
        num_known = len(prefix)
        while not (endings := self._endings(prefix[:num_known])):
            num_known -= 1
        return dict.fromkeys(self._vocabulary.get(prefix + ending, self._unknown) for ending in endings)

    def _endings(self, prefix: str) -> list[str]:
        first = bisect_left(self._tokens, prefix)
        last = bisect_left(self._tokens, prefix + "\U0010ffff", first)
        return [token[len(prefix) :] for token in self._tokens[first:last]]

    def _attended(self, token_ids: list[int]) -> list[int]:
        """The library masks padding, unless it is also the end token."""
        return token_ids if self._pad == self._eos else [token_id for token_id in token_ids if token_id != self._pad]
