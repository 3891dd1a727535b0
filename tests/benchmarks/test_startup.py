"""How starts are told; the figures themselves are not tested."""

from benchmarks.startup import Start, table


def test_a_stage_is_told_by_when_it_was_seen():
    assert "3.00 s" in table([Start(3.0, {"listening": 1.0, "ready": 3.0}, 80.0, 400.0)])
