"""How the limits of a machine are measured; the figures themselves are not tested."""

from benchmarks.machine.limits import best_of


def test_the_shortest_time_counts():
    calls: list[int] = []
    assert 0 <= best_of(3, lambda: calls.append(1)) < 1
    assert len(calls) == 4
