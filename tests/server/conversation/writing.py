"""Texts that a grammar allows: whether it allows one, and what a model without any preference writes."""

import torch
from tokenizers import Tokenizer

from beamhouse.engine.link.messages import Constraint
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.state.request import Row
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.beamhouse.generate import PrefixAllowedTokens
from tests.engine.logits.scoring import byte_tokenizer, make_pipeline, make_request, make_row, process

END = 0
_CLOSING = '"}])>\n'
_ENDS_OF_STRINGS = ("\n</parameter>\n", "<escape>", '<|"|>')


class Writer:
    """A vocabulary of bytes and some special tokens, and random choices among what a grammar allows."""

    def __init__(self, *special_tokens: str) -> None:
        self.tokenizer: Tokenizer = byte_tokenizer()
        self.tokenizer.add_special_tokens(list(special_tokens))
        self._size = self.tokenizer.get_vocab_size()
        text = Text(self.tokenizer, None, {"eos_token": "<eos>"})
        self.special_ids = text.special_ids
        self._pipeline: Pipeline = make_pipeline(self._size, spell=text.spelling)
        closing = [self.tokenizer.token_to_id(char) for char in _CLOSING]
        self._liking = torch.zeros(self._size)
        self._liking[[END, *(token for token in closing if token is not None)]] = 3.0
        self._liking[END] = 7.0

    def allows(self, rule: PrefixAllowedTokens, text: str) -> bool:
        """Whether a text may be written, and may end."""
        return self.place_of_fault(rule, text) is None

    def place_of_fault(self, rule: PrefixAllowedTokens, text: str) -> str | None:
        """The text up to the first token that is not allowed; None where all are, and the end."""
        row = self._row(rule)
        token_ids = [*self.tokenizer.encode(text).ids, END]
        for at, token_id in enumerate(token_ids):
            if not self._scores(row, torch.zeros(self._size))[token_id].isfinite():
                return self.decode(token_ids[:at])
            row.sequence.token_ids.append(token_id)
        return None

    def drawn(self, rule: PrefixAllowedTokens, seed: int, most: int = 700) -> str | None:
        """A random text, in which strings end now and then; None where it has not ended after so many tokens."""
        generator, row = torch.Generator().manual_seed(seed), self._row(rule)
        ahead = list[int]()
        for _ in range(most):
            scores = self._scores(row, torch.randn(self._size, generator=generator) + self._liking)
            drawn = int(torch.multinomial(scores.softmax(-1), 1, generator=generator))
            if drawn != END and not ahead and drawn % 4 == 0:
                ahead = self.tokenizer.encode(_ENDS_OF_STRINGS[drawn % len(_ENDS_OF_STRINGS)]).ids
            if ahead and scores[ahead[0]].isfinite():
                drawn, *ahead = ahead
            else:
                ahead = []
            if drawn == END:
                return self.decode(row.sequence.generated_ids)
            row.sequence.token_ids.append(drawn)
        return None

    def decode(self, token_ids: list[int]) -> str:
        text: str = self.tokenizer.decode([one for one in token_ids if one != END], skip_special_tokens=False)
        return text

    def _row(self, rule: PrefixAllowedTokens) -> Row:
        return make_row(make_request([9], (END,), Constraint(**rule.model_dump(exclude_none=True))), [])

    def _scores(self, row: Row, logits: torch.Tensor) -> torch.Tensor:
        return process(self._pipeline, [row], logits[None])[0]
