"""Quantiles of measured values."""

import pytest

from beamhouse.server.command.bench.quantiles import quantile


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_quantiles_are_values_that_occur(share: float, expected: int):
    assert quantile(list(range(100, 0, -1)), share) == expected


def test_nothing_has_the_quantile_zero():
    assert quantile([], 0.5) == 0.0
