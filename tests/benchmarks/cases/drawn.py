"""Requests as the benchmark of modes draws them, and a side that answers them."""

from collections.abc import Sequence

from beamhouse.server.command.bench.modes import MODES
from benchmarks.cases.answers import Answer
from benchmarks.cases.modes import Drawing, Request

NUM_NEW = 4
END = 7
DRAFTING = {
    "num_assistant_tokens": 5,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
}
DRAWING = Drawing(
    3,
    1000,
    prompt_tokens=8,
    new_tokens=NUM_NEW,
    end_id=END,
    drafting=DRAFTING,
    write=lambda seed, size: [seed % 99] * size,
)
ONE_MODE = {mode.name: mode for mode in MODES}


def requests_of(name: str, num_requests: int = 1) -> list[Request]:
    return DRAWING.rounds(ONE_MODE[name], num_requests, 1)[0]


class Side:
    """Answers every request with the same tokens after `seconds`, and notes what it was asked."""

    def __init__(self, calls: list[tuple[str, int]], name: str, seconds: float) -> None:
        self.calls, self.name, self.seconds = calls, name, seconds

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        return self._answer(self.name, requests)

    def one_by_one(self, requests: Sequence[Request]) -> list[Answer]:
        return self._answer(f"{self.name} one by one", requests)

    def as_batch(self, requests: Sequence[Request]) -> list[Answer]:
        return self._answer(f"{self.name} as batch", requests)

    def _answer(self, name: str, requests: Sequence[Request]) -> list[Answer]:
        self.calls.append((name, len(requests)))
        return [Answer([1] * NUM_NEW, [self.seconds] * NUM_NEW, 6, 3) for _ in requests]
