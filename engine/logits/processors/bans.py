"""Tokens that may not be chosen: always, or as the first one."""

from torch import Tensor

from beamhouse.engine.logits.processor import Processor, ban, known_ids
from beamhouse.engine.logits.rows import Ids, Rows
from beamhouse.engine.state.memory import Slot
from beamhouse.engine.state.request import Request, Row
from beamhouse.schemas.generation.resolved import given


class SuppressTokens(Processor):
    """Ban tokens at every step; ids beyond the vocabulary are no fault.

    Equals transformers.SuppressTokensLogitsProcessor.
    """

    name = "suppress_tokens"
    reads = frozenset({"suppress_tokens"})
    equals = "SuppressTokensLogitsProcessor"
    banned = Slot[Ids](name)

    def applies(self, request: Request) -> bool:
        return request.config.suppress_tokens is not None

    def prepare(self, request: Request, vocab_size: int) -> None:
        request.memory[self.banned] = known_ids(given(request.config.suppress_tokens), vocab_size)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return ban(rows, scores, [row.request.memory[self.banned] for row in rows])


class BeginSuppressTokens(Processor):
    """Ban tokens as the first generated one; as the second where a one-token prompt is followed by a forced one.

    Equals transformers.SuppressTokensAtBeginLogitsProcessor.
    """

    name = "begin_suppress_tokens"
    reads = frozenset({"begin_suppress_tokens"})
    equals = "SuppressTokensAtBeginLogitsProcessor"
    banned = Slot[Ids](name)

    def applies(self, request: Request) -> bool:
        return request.config.begin_suppress_tokens is not None

    def acts(self, row: Row) -> bool:
        sequence = row.sequence
        is_first_forced = sequence.num_prompt <= 1 and row.request.config.forced_bos_token_id is not None
        return sequence.num_generated == int(is_first_forced)

    def prepare(self, request: Request, vocab_size: int) -> None:
        request.memory[self.banned] = known_ids(given(request.config.begin_suppress_tokens), vocab_size)

    def __call__(self, rows: Rows, scores: Tensor) -> Tensor:
        return ban(rows, scores, [row.request.memory[self.banned] for row in rows])
