"""The arithmetic that all benchmarks share."""

import pytest

from benchmarks.report.measures import Answer, num_equal, quantile, tokens_per_s


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_quantiles_are_values_that_occur(share: float, expected: int):
    assert quantile(list(range(100, 0, -1)), share) == expected


def test_nothing_has_the_quantile_zero():
    assert quantile([], 0.5) == 0.0


def test_equal_answers_are_counted_by_their_tokens():
    assert num_equal([Answer([1], [0.1]), Answer([2], [0.1])], [Answer([1], [0.9]), Answer([3], [0.1])]) == 1


def test_the_rate_is_that_of_all_requests_until_the_last_is_answered():
    assert tokens_per_s([Answer([1, 2], [0.5, 0.5]), Answer([1, 2, 3], [2.0] * 3)]) == pytest.approx(2.5)
