"""What became known in a step, until it is told."""

from collections import deque

from beamhouse.engine.link.errors import EngineError, InvalidRequest
from beamhouse.engine.link.messages import (
    Finished,
    HypothesisUpdate,
    Load,
    SearchUpdate,
    StepOutputs,
    TensorPiece,
    Timings,
    Tokens,
)
from beamhouse.engine.state.batch import Gain
from beamhouse.engine.state.request import Request

PIECE = 4096
"""Tokens, likeliest ones included, of requests that have ended that are told at once: the other process takes in each
message without a pause."""


class Outbox:
    """Collects the messages of a step. Tokens that nobody reads as they come are held until their request ends.

    Then they are told in pieces, one with each step, the end with the last of them.
    """

    def __init__(self) -> None:
        self._tokens: list[Tokens] = []
        self._held: dict[str, list[Tokens]] = {}
        self._progress: list[SearchUpdate] = []
        self._finished: list[Finished] = []
        self._long: deque[Tokens | Finished] = deque()

    @property
    def has_finished(self) -> bool:
        """Whether the end of a request is to be told."""
        return bool(self._finished or self._long)

    @property
    def num_held(self) -> int:
        """Requests whose tokens are held until they end."""
        return len(self._held)

    def add(self, request: Request, gain: Gain) -> None:
        told = self._tokens if request.submission.is_streamed else self._held.setdefault(request.id, [])
        told.append(
            Tokens(
                request.id,
                gain.index,
                gain.token_ids,
                gain.scores,
                gain.top_tokens,
                gain.finish_reason,
                gain.ranking,
            )
        )

    def show(self, request: Request, hypotheses: list[HypothesisUpdate]) -> None:
        self._progress.append(SearchUpdate(request.id, hypotheses))

    def finish(
        self, request: Request, now: float, tensors: dict[str, TensorPiece], prompt_logprobs: list[float | None]
    ) -> None:
        """Tell that all sequences of a request have ended."""
        held = self._held.pop(request.id, [])
        is_long = sum(message.num_entries for message in held) > PIECE
        (self._long if is_long else self._tokens).extend(held)
        started, first = request.started_at or now, request.first_token_at or now
        (self._long if is_long else self._finished).append(
            Finished(
                request.id,
                Timings(started - request.arrived_at, first - started, now - first, now - request.arrived_at),
                cached_prompt_tokens=request.num_prompt_matched,
                drafted_tokens=request.num_drafted,
                accepted_tokens=request.num_accepted,
                warnings=request.warnings,
                tensors=tensors,
                prompt_logprobs=prompt_logprobs,
            )
        )

    def fail(self, request_id: str, error: EngineError) -> None:
        problems = error.problems if isinstance(error, InvalidRequest) else []
        self._finished.append(Finished(request_id, error_code=error.code, error=str(error), problems=problems))

    def forget(self, request_id: str) -> None:
        """Tell nothing of what is held for a request."""
        self._held.pop(request_id, None)

    def empty(self, load: Load) -> StepOutputs:
        """All that is to be told now."""
        num_entries = 0
        while self._long and num_entries < PIECE:
            message = self._long.popleft()
            if isinstance(message, Finished):
                self._finished.append(message)
            else:
                self._tokens.append(message)
                num_entries += message.num_entries
        outputs = StepOutputs(self._tokens, self._progress, self._finished, load)
        self._tokens, self._progress, self._finished = [], [], []
        return outputs
