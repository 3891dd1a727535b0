"""The tokens that two tokenizers have in common."""

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from beamhouse.engine.decoding.drafting.drafter import drafting_of
from beamhouse.engine.decoding.drafting.model import DraftVocabulary
from beamhouse.engine.state.request import Request


@dataclass(frozen=True, slots=True)
class Tokenizers:
    """The tokenizers of the main model and of its draft model, without padding and truncation."""

    main: Tokenizer
    draft: Tokenizer

    @classmethod
    def load(cls, main_json: str, draft_json: str) -> "Tokenizers":
        pair = cls(Tokenizer.from_str(main_json), Tokenizer.from_str(draft_json))
        for tokenizer in (pair.main, pair.draft):
            tokenizer.no_padding()
            tokenizer.no_truncation()
        return pair

    @property
    def are_alike(self) -> bool:
        """Whether both name the same tokens by the same ids."""
        main: dict[str, int] = self.main.get_vocab()
        return main == self.draft.get_vocab()

    def to_draft(self, token_ids: list[int], *, add_special_tokens: bool) -> list[int]:
        return convert(token_ids, self.main, self.draft, add_special_tokens)

    def to_main(self, token_ids: list[int], *, add_special_tokens: bool) -> list[int]:
        return convert(token_ids, self.draft, self.main, add_special_tokens)


def convert(token_ids: list[int], source: Tokenizer, target: Tokenizer, add_special_tokens: bool) -> list[int]:
    """The text of the tokens, special ones left out, in the tokens of another tokenizer."""
    text = source.decode(token_ids, skip_special_tokens=True)
    ids: list[int] = target.encode(text, add_special_tokens=add_special_tokens).ids
    return ids


class SharedVocabulary(DraftVocabulary):
    """Names the draft model's tokens by those of the main model that stand for the same text.

    What it draws is distributed over these tokens alone, so that the check by speculative sampling is exact. A prompt
    is translated as text, and later tokens one by one. Source: arXiv:2502.05202; transformers has it as
    UniversalSpeculativeDecodingGenerator, which applies the processors to the draft model's own ids and mixes up the
    order of its columns, so that its random choices cannot be reproduced.
    """

    def __init__(self, tokenizers: Tokenizers, vocab_size: int, draft_vocab_size: int, device: torch.device) -> None:
        self._tokenizers, self._vocab_size = tokenizers, vocab_size
        shared = _shared_ids(tokenizers)
        self._draft_ids = {
            main: draft for main, draft in sorted(shared.items()) if main < vocab_size and draft < draft_vocab_size
        }
        self._columns = torch.tensor(list(self._draft_ids), dtype=torch.int64, device=device)
        self._sources = torch.tensor(list(self._draft_ids.values()), dtype=torch.int64, device=device)

    def __len__(self) -> int:
        return len(self._draft_ids)

    def context(self, request: Request) -> list[int]:
        state, token_ids = drafting_of(request), request.sequences[0].token_ids
        if not state.num_translated:
            state.translated = self._tokenizers.to_draft(token_ids, add_special_tokens=False)
        else:
            for token in token_ids[state.num_translated :]:
                state.translated.extend(self._translated(token))
        state.num_translated = len(token_ids)
        return list(state.translated)

    def translate(self, logits: torch.Tensor) -> torch.Tensor:
        wide = logits.new_full((len(logits), self._vocab_size), -torch.inf)
        wide[:, self._columns] = logits[:, self._sources]
        return wide

    def draft_id(self, token: int) -> int:
        return self._draft_ids[token]

    def _translated(self, token: int) -> list[int]:
        draft_id = self._draft_ids.get(token)
        return self._tokenizers.to_draft([token], add_special_tokens=False) if draft_id is None else [draft_id]


def _shared_ids(tokenizers: Tokenizers) -> dict[int, int]:
    """By id of the main tokenizer, the id of the same token in the other, however each writes a leading space."""
    main: dict[str, int] = tokenizers.main.get_vocab()
    signs = _space_sign(tokenizers.main), _space_sign(tokenizers.draft)
    shared: dict[int, int] = {}
    for token, draft_id in sorted(tokenizers.draft.get_vocab().items()):
        if all(signs) and token.startswith(str(signs[1])):
            token = str(signs[0]) + token[1:]
        if token in main:
            shared[main[token]] = draft_id
    return shared


def _space_sign(tokenizer: Tokenizer) -> str | None:
    """The character that stands for a space inside tokens."""
    ids = tokenizer.encode(" ", add_special_tokens=False).ids
    token: str | None = tokenizer.id_to_token(ids[0]) if ids else None
    return token[0] if token else None
