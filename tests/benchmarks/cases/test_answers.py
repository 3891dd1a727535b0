"""What is counted of answers."""

import pytest

from benchmarks.cases.answers import Answer, num_equal, tokens_per_s


def test_equal_answers_are_counted_by_their_tokens():
    assert num_equal([Answer([1], [0.1]), Answer([2], [0.1])], [Answer([1], [0.9]), Answer([3], [0.1])]) == 1


def test_the_rate_is_that_of_all_requests_until_the_last_is_answered():
    assert tokens_per_s([Answer([1, 2], [0.5, 0.5]), Answer([1, 2, 3], [2.0] * 3)]) == pytest.approx(2.5)
