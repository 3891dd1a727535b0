"""Whether an engine that has work still makes steps, judged by the process that waits for them."""

from collections import deque
from statistics import median

NUM_REMEMBERED = 64
MANY_STEPS = 20
"""An engine may be silent for so many of its usual steps, however long they are."""


class Pulse:
    """Adds up the silence between steps.

    stall_s: silence after which the engine is no longer to be relied on; hang_s: after which it never comes back. Both
    become longer where steps last long.
    """

    def __init__(self, stall_s: float, hang_s: float) -> None:
        self._stall_s, self._hang_s = stall_s, hang_s
        self._steps: deque[float] = deque(maxlen=NUM_REMEMBERED)
        self.silence_s = 0.0

    @property
    def usual_s(self) -> float:
        """The median of the newest steps that were told; 0 before the first. Steps of milliseconds are not all told."""
        return median(self._steps) if self._steps else 0.0

    @property
    def is_stalled(self) -> bool:
        return self.silence_s >= max(self._stall_s, MANY_STEPS * self.usual_s)

    @property
    def is_hung(self) -> bool:
        return self.is_stalled and self.silence_s >= self._hang_s

    def beat(self, step_s: float) -> None:
        """A step ended, which took so long."""
        self._steps.append(step_s)
        self.silence_s = 0.0

    def wait(self, seconds: float) -> None:
        """So much time passed with work and without a step."""
        self.silence_s += seconds

    def rest(self) -> None:
        """There is no work: silence means nothing."""
        self.silence_s = 0.0
