"""How many prompt tokens go beside requests that decode: a machine that is a formula takes the place of the clock."""

import math
from collections.abc import Callable

import pytest

from beamhouse.engine.loop.prefill_pace import MIN_CHUNK, STALE, Durations, Pace

ROOM = 512
Machine = Callable[[int, int], float]


def by_arithmetic(num_decoded: int, num_prompt: int) -> float:
    """Seconds of a machine that reads its weights in 22 ms and computes a token in 1.9."""
    return max(0.022, 0.015 + 0.0019 * (num_decoded + num_prompt))


def by_launching(num_decoded: int, num_prompt: int) -> float:
    """Seconds of a machine to which any number of tokens is the same."""
    return 0.01


def settled(pace: Pace, machine: Machine, num_decoded: int, gain: float = 0.0, steps: int = 40) -> int:
    """The chunk after so many steps, steps without prompts left out."""
    chunk = 0
    for _ in range(steps):
        now = pace.chunk(num_decoded, gain, ROOM)
        chunk = now or chunk
        pace.record(num_decoded, now, machine(num_decoded, now))
    return chunk


def test_steps_with_prompts_settle_below_the_stretch() -> None:
    for num_decoded in (1, 8, 32):
        chunk = settled(Pace(1.8), by_arithmetic, num_decoded)
        stretch = by_arithmetic(num_decoded, chunk) / by_arithmetic(num_decoded, 0)
        assert 1.6 < stretch <= 1.81
        assert chunk > MIN_CHUNK


def test_where_prompts_cost_nothing_they_get_all_the_room() -> None:
    assert settled(Pace(1.8), by_launching, 4) == ROOM


def test_a_machine_that_becomes_slower_is_learnt_anew() -> None:
    pace = Pace(1.8)
    before = settled(pace, by_arithmetic, 32)

    def with_longer_contexts(num_decoded: int, num_prompt: int) -> float:
        return by_arithmetic(num_decoded, 0) + 2 * 0.0019 * num_prompt

    chunk = settled(pace, with_longer_contexts, 32)
    assert MIN_CHUNK < chunk < before
    assert with_longer_contexts(32, chunk) <= 1.81 * by_arithmetic(32, 0)


def test_one_disturbed_step_changes_nothing() -> None:
    pace = Pace(1.8)
    before = settled(pace, by_arithmetic, 8)
    pace.record(8, before, 5.0)
    pace.record(8, 0, 5.0)
    assert pace.chunk(8, 0.0, ROOM) == pytest.approx(before, abs=2)


def test_a_prompt_always_gets_on() -> None:
    def hopeless(num_decoded: int, num_prompt: int) -> float:
        return 0.001 + num_prompt

    assert settled(Pace(1.8), hopeless, 8) == MIN_CHUNK


def test_short_prompts_get_more_the_more_of_them_there_are_for_each_stream() -> None:
    chunks = [settled(Pace(1.8), by_arithmetic, 8, gain) for gain in (0.0, 0.25, 1.0, 8.0)]
    assert chunks == sorted(chunks)
    assert chunks[0] < chunks[1] < chunks[2]
    assert chunks[3] == ROOM


def test_what_was_never_measured_is_measured_first_and_again_after_a_while() -> None:
    pace = Pace(1.8)
    asked = []
    for _ in range(2 * STALE):
        asked.append(pace.chunk(3, 0.0, ROOM))
        pace.record(3, asked[-1], by_arithmetic(3, asked[-1]))
    assert [number for number, chunk in enumerate(asked) if not chunk] == [0, STALE + 1]


def test_an_infinite_stretch_lets_prompts_come_first() -> None:
    assert Pace(math.inf).chunk(8, 0.0, ROOM) == ROOM


def test_durations_are_read_between_the_sizes_that_were_measured() -> None:
    durations = Durations()
    assert durations.reach(1.0) == 0
    durations.record(10, 1.0)
    assert (durations.reach(0.5), durations.reach(1.5), durations.reach(9.0)) == (5, 15, 20)
    durations.record(30, 3.0)
    assert (durations.reach(2.0), durations.reach(3.0)) == (20, 30)
    assert durations.of(30) == 3.0
    assert durations.of(5) is None
