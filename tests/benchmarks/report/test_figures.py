"""How the arrival of tokens becomes figures."""

import pytest

from benchmarks.report.figures import Figures, decode_rate
from benchmarks.serving.wire import Streamed


def streamed(sent_s: float, *arrived_s: float, num_prompt: int = 10) -> Streamed:
    return Streamed(num_prompt, sent_s, list(arrived_s), [1] * len(arrived_s))


def test_times_to_the_first_token_count_from_each_request():
    figures = Figures.of([streamed(0.0, 0.5, 0.6), streamed(10.0, 10.1, 10.3)], num_lanes=2)
    assert (figures.first_p50_ms, figures.first_p99_ms) == (pytest.approx(100), pytest.approx(500))
    assert (figures.between_p50_ms, figures.between_p99_ms) == (pytest.approx(100), pytest.approx(200))


def test_rates_are_of_the_whole_run_and_of_the_prompts():
    figures = Figures.of([streamed(0.0, 1.0, 2.0), streamed(0.0, 2.0, 4.0)], num_lanes=2)
    assert figures.tokens_per_s == pytest.approx(4 / 4.0)
    assert figures.prompt_per_s == pytest.approx(20 / 2.0)


def test_decoding_is_measured_while_all_streams_of_the_first_wave_run():
    early = streamed(0.0, *(0.1 * number for number in range(1, 101)))  # alone until 5.0, then until 10.0
    late = streamed(0.0, *(5.0 + 0.2 * number for number in range(51)))  # 5.0 to 15.0
    second_wave = streamed(10.0, *(12.0 + 0.001 * number for number in range(50)))
    assert decode_rate([early, late, second_wave], num_lanes=2) == pytest.approx(15.0, rel=0.03)


def test_too_short_a_window_gives_no_rate_of_decoding():
    assert decode_rate([streamed(0.0, 1.0), streamed(0.0, 2.0)], num_lanes=2) is None
    assert Figures.of([streamed(0.0, 1.0)], num_lanes=1).between_p50_ms is None


def test_medians_leave_out_what_a_round_does_not_show():
    runs = [Figures(rate, 1, decode, 1, 1, None, None) for rate, decode in ((1, None), (5, 7.0), (9, 9.0))]
    middle = Figures.median_of(runs)
    assert (middle.tokens_per_s, middle.decode_per_s, middle.between_p50_ms) == (5, 8.0, None)
