"""What became known in a step, until it is told."""

from collections import deque
from collections.abc import Iterator

from beamhouse.engine.decoding.requested_outputs import Trace
from beamhouse.engine.link.errors import EngineError, InvalidRequest
from beamhouse.engine.link.messages import Finished, Load, RequestOutputs, StepOutputs, TensorPiece, Timings, Tokens
from beamhouse.engine.state.batch import Advance
from beamhouse.engine.state.request import Request

PIECE = 4096
"""Tokens, likeliest ones included, of requests that have ended that are told at once: the other process takes in each
message without a pause."""
PART = 512
"""Of them, those that stand in one part of a message: so many the other process makes into text in one go."""


class Outbox:
    """Collects the messages of a step. Tokens that nobody reads as they come stay in the outputs of their request.

    When it has ended they are told; long ones in pieces, one with each step, the end with the last of them.
    """

    def __init__(self) -> None:
        self._requests: list[RequestOutputs] = []
        self._finished: list[Finished] = []
        self._long: deque[tuple[deque[Tokens], Finished]] = deque()

    @property
    def has_finished(self) -> bool:
        """Whether the end of a request is to be told."""
        return bool(self._finished or self._long)

    def add(self, request: Request, advance: Advance) -> None:
        """Keep what a request gained as its outputs, and tell it where somebody reads it as it comes."""
        is_streamed = request.submission.is_streamed
        for tokens in advance.gains:
            if is_streamed:
                request.outputs[tokens.sequence].token_ids.extend(tokens.token_ids)
            else:
                request.outputs[tokens.sequence].extend(tokens)
        if is_streamed and (advance.gains or advance.progress):
            self._requests.append(RequestOutputs(request.id, advance.gains, advance.progress))

    def finish(self, request: Request, now: float, tensors: dict[str, TensorPiece], trace: Trace) -> None:
        """Tell that all sequences of a request have ended. trace: what was kept of its prompt."""
        started, first = request.started_at or now, request.first_token_at or now
        finished = Finished(
            request.id,
            Timings(started - request.arrived_at, first - started, now - first, now - request.arrived_at),
            cached_prompt_tokens=request.num_prompt_matched,
            drafted_tokens=request.num_drafted,
            accepted_tokens=request.num_accepted,
            warnings=request.warnings,
            tensors=tensors,
            prompt_logprobs=trace.prompt_logprobs if request.submission.wanted.prompt_logprobs else [],
            prompt_top_tokens=trace.prompt_top_tokens,
        )
        held = () if request.submission.is_streamed else request.outputs
        parts = deque(part for tokens in held for part in parts_of(tokens))
        if sum(part.num_entries for part in parts) > PIECE:
            self._long.append((parts, finished))
            return
        if parts:
            self._requests.append(RequestOutputs(request.id, list(parts)))
        self._finished.append(finished)

    def fail(self, request_id: str, error: EngineError) -> None:
        problems = error.problems if isinstance(error, InvalidRequest) else []
        self._finished.append(Finished(request_id, error_code=error.code, error=str(error), problems=problems))

    def empty(self, load: Load) -> StepOutputs:
        """All that is to be told now."""
        self._take_piece()
        outputs = StepOutputs(self._requests, self._finished, load)
        self._requests, self._finished = [], []
        return outputs

    def _take_piece(self) -> None:
        """The next piece of what is long, and the ends that it comes to."""
        num_entries = 0
        while self._long and num_entries < PIECE:
            parts, finished = self._long[0]
            told: list[Tokens] = []
            while parts and num_entries < PIECE:
                told.append(parts.popleft())
                num_entries += told[-1].num_entries
            self._requests.append(RequestOutputs(finished.request_id, told))
            if not parts:
                self._finished.append(finished)
                self._long.popleft()


def parts_of(tokens: Tokens) -> Iterator[Tokens]:
    """The same in parts of at most `PART` entries, as far as that can be. What ends the sequence is in the last."""
    ids, size = tokens.token_ids, max(1, PART // (1 + max(map(len, tokens.top_tokens), default=0)))
    for start in range(0, max(1, len(ids)), size):
        own = slice(start, start + size)
        ends = (tokens.finish_reason, tokens.ranking) if own.stop >= len(ids) else (None, None)
        yield Tokens(tokens.sequence, ids[own], tokens.scores[own], tokens.top_tokens[own], *ends)
