"""How many prompt tokens a step may take in while other requests decode, learnt from what steps took so far."""

import math
from bisect import insort
from collections import deque
from statistics import median_low

MIN_CHUNK = 8
"""Prompt tokens that a step may always have, so that every prompt gets on."""

CLASSES_PER_OCTAVE = 4
MEMORY = 7
"""Measurements kept for each size; their median counts, so that a step that something disturbed does not."""

GROWTH = 2
"""How much larger than the largest that was ever measured a chunk may be: what lies beyond is a guess."""

STALE = 64
"""Steps with prompts after which one goes without, to learn anew what that takes."""


def class_of(size: int) -> int:
    """Sizes that count as one: up to 8 each by itself, then four classes to each doubling."""
    return size if size <= 2 * CLASSES_PER_OCTAVE else round(CLASSES_PER_OCTAVE * (math.log2(size) - 1))


class Durations:
    """Seconds by size, as measured: for each class of sizes the median of the last few."""

    def __init__(self) -> None:
        self._samples: dict[int, deque[tuple[int, float]]] = {}
        self._points: dict[int, tuple[float, float]] = {}
        self._classes: list[int] = []

    def record(self, size: int, seconds: float) -> None:
        kind = class_of(size)
        if kind not in self._samples:
            self._samples[kind] = deque(maxlen=MEMORY)
            insort(self._classes, kind)
        samples = self._samples[kind]
        samples.append((size, seconds))
        self._points[kind] = (sum(one for one, _ in samples) / len(samples), median_low(took for _, took in samples))

    def of(self, size: int) -> float | None:
        """Seconds of this size; None where no size of its class was measured."""
        point = self._points.get(class_of(size))
        return point[1] if point else None

    def reach(self, seconds: float) -> int:
        """The largest size that takes at most so long, on straight lines between the sizes that were measured.

        Not more than `GROWTH` times the largest of them; 0 where none was.
        """
        size, took = 0.0, 0.0
        for kind in self._classes:
            next_size, next_took = self._points[kind]
            if next_took > seconds:
                # A smaller size may have been slower by chance: then the line does not rise, and its start counts.
                share = (seconds - took) / (next_took - took) if took < seconds else 0.0
                return int(size + (next_size - size) * share)
            size, took = next_size, next_took
        return int(size * min(GROWTH, seconds / took)) if took else int(size * GROWTH)


EAGERNESS = 8
"""How much the gain of short prompts counts. At a gain of 1/8 they are given as much time as long ones are."""


class Pace:
    """Keeps steps with prompts within `max_stretch` times a step without them, as long as anybody decodes.

    Short prompts are given more: the more requests a pause would let decode, for each one that pauses, the longer it
    may be. Keeping few streams smooth would cost the many that wait, and the throughput of all. With an infinite
    stretch prompts come first.
    """

    def __init__(self, max_stretch: float) -> None:
        self.max_stretch = max_stretch
        self._plain, self._extra = Durations(), Durations()
        self._num_since_plain: dict[int, int] = {}

    def chunk(self, num_decoded: int, gain: float, room: int) -> int:
        """Prompt tokens, at most `room`, of a step that also feeds `num_decoded` tokens of requests that decode.

        gain: requests that a step of short prompts alone would let decode, for each one that decodes; 0 where there are
        long ones alone. The answer 0 asks for a step without prompts, so that its duration becomes known.
        """
        if math.isinf(self.max_stretch):
            return room
        plain_s = self._plain.of(num_decoded)
        if plain_s is None or self._num_since_plain.get(class_of(num_decoded), 0) >= STALE:
            return 0
        allowed_s = (self.max_stretch - 1) * plain_s * (1 + EAGERNESS * gain)
        return min(room, max(MIN_CHUNK, self._extra.reach(allowed_s)))

    def record(self, num_decoded: int, num_prompt: int, seconds: float) -> None:
        """What a step took, with so many tokens of requests that decode and of prompts."""
        kind = class_of(num_decoded)
        if not num_prompt:
            self._plain.record(num_decoded, seconds)
            self._num_since_plain[kind] = 0
            return
        self._num_since_plain[kind] = self._num_since_plain.get(kind, 0) + 1
        # Of prompts alone, what a step of one token takes is not the prompts' either.
        plain_s = self._plain.of(num_decoded or 1)
        if plain_s is not None or not num_decoded:
            self._extra.record(num_prompt, max(0.0, seconds - (plain_s or 0.0)))
