"""What part of the machine a side reached."""

from dataclasses import replace

import pytest

from benchmarks.report.shares import bandwidth_share, compute_share
from tests.benchmarks.report.ledgers import FACTS, FIGURES, RUN


def test_shares_of_the_limits_are_per_cent_of_the_same_minute():
    assert bandwidth_share([RUN], FACTS, 8) == pytest.approx(100 * 200 / 8 * 2.0 / 40.0)
    assert compute_share([RUN], FACTS, "decode_per_s") == pytest.approx(100 * 2 * 200 / 400)
    assert compute_share([RUN], FACTS, "prompt_per_s") == pytest.approx(100 * 2 * 0.5 * 400 / 400)
    unknown = replace(RUN, figures=replace(FIGURES, decode_per_s=None))
    assert bandwidth_share([unknown], FACTS, 8) is None is compute_share([unknown], FACTS, "decode_per_s")
