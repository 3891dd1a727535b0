"""Silence of an engine that has work: how much of it means a stall, and how much a hang."""

from beamhouse.engine.link.pulse import NUM_REMEMBERED, Pulse


def test_silence_stalls_first_and_hangs_later() -> None:
    pulse = Pulse(stall_s=5, hang_s=30)
    pulse.wait(4.9)
    assert not pulse.is_stalled
    pulse.wait(0.2)
    assert pulse.is_stalled
    assert not pulse.is_hung
    pulse.wait(25)
    assert pulse.is_hung


def test_a_step_ends_the_silence_and_so_does_having_nothing_to_do() -> None:
    pulse = Pulse(stall_s=5, hang_s=30)
    pulse.wait(6)
    pulse.beat(0.01)
    assert not pulse.is_stalled
    pulse.wait(6)
    pulse.rest()
    assert not pulse.is_stalled


def test_where_steps_last_long_silence_may_last_longer() -> None:
    pulse = Pulse(stall_s=5, hang_s=30)
    for _ in range(3):
        pulse.beat(2.0)
    pulse.wait(39)
    assert not pulse.is_stalled
    assert not pulse.is_hung
    pulse.wait(1)
    assert pulse.is_stalled
    assert pulse.is_hung


def test_one_long_step_among_many_short_ones_is_not_usual() -> None:
    pulse = Pulse(stall_s=5, hang_s=30)
    for seconds in (0.01, 20.0, 0.02):
        pulse.beat(seconds)
    assert pulse.usual_s == 0.02


def test_old_steps_are_forgotten() -> None:
    pulse = Pulse(stall_s=5, hang_s=30)
    for seconds in (9.0, *[0.5] * NUM_REMEMBERED):
        pulse.beat(seconds)
    assert pulse.usual_s == 0.5
