"""The benchmark of a step runs for every case; the figures themselves are not tested."""

import pytest

from benchmarks.step import CASES, Clock, line, measure, read_options


@pytest.mark.parametrize("case", CASES)
def test_every_case_runs_to_its_last_step(case: str):
    options = read_options(["--vocab-size", "300", "--prompt-tokens", "8", "--steps", "2"])
    spent = measure(options, Clock(), case, rows=8, waiting=1)
    assert spent is not None
    assert float(line(case, 8, 1, spent)[3]) > 0


def test_rows_that_no_request_fills_are_left_out():
    assert measure(read_options([]), Clock(), "8 beams", rows=1, waiting=0) is None


def test_a_phase_is_counted_without_those_inside_it():
    clock = Clock()
    inner = clock.time("outer", lambda: [clock.time("inner", lambda: sum(range(10**5))) for _ in range(3)])
    assert len(inner) == 3
    assert clock.spent["inner"] > clock.spent["outer"] > 0
