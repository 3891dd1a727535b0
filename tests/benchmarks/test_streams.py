"""The benchmark's arithmetic and its reading of event streams; the figures themselves are not tested."""

import anyio
import pytest

from benchmarks.measures import Answer, Figures, num_equal, quantile
from benchmarks.served import events
from benchmarks.streams import Comparison, compare, read_options, table, workloads


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_quantiles_are_values_that_occur(share: float, expected: int):
    assert quantile(list(range(100, 0, -1)), share) == expected


def test_figures_come_from_the_times_of_all_requests():
    figures = Figures.of_round([Answer([1, 2, 3], [0.1, 0.2, 0.4]), Answer([1, 2], [0.3, 0.5])])
    assert figures.tokens_per_s == pytest.approx(10)
    assert (figures.first_p50_ms, figures.first_p99_ms) == pytest.approx((100, 300))
    assert (figures.between_p50_ms, figures.between_p99_ms) == pytest.approx((200, 200))


def test_a_single_token_has_no_time_between_tokens():
    assert Figures.of_round([Answer([1], [0.1])]).between_p99_ms == 0


def test_each_figure_is_the_median_of_the_rounds():
    rounds = [Figures(1, 9, 1, 1, 1), Figures(2, 8, 1, 1, 1), Figures(9, 1, 1, 1, 1)]
    assert Figures.median_of(rounds) == Figures(2, 8, 1, 1, 1)


def test_equal_answers_are_counted_by_their_tokens():
    assert num_equal([Answer([1], [0.1]), Answer([2], [0.1])], [Answer([1], [0.9]), Answer([3], [0.1])]) == 1


def test_prompts_never_come_twice_and_depend_on_the_seed():
    options = read_options(["--rounds", "2", "--prompt-tokens", "8"])
    drawn = [prompt for load in workloads(options, 4, 1000) for prompt in load.prompts]
    assert len({tuple(prompt) for prompt in drawn}) == len(drawn) == 12
    assert drawn == [prompt for load in workloads(options, 4, 1000) for prompt in load.prompts]
    assert all(100 <= token_id < 1000 for prompt in drawn for token_id in prompt)


def test_rounds_alternate_after_a_warm_up():
    calls = []

    def side(name: str):
        return lambda load: (
            calls.append((name, len(load.prompts))) or [Answer([1, 2], [0.1, 0.2]) for _ in load.prompts]
        )

    loads = workloads(read_options(["--rounds", "2"]), 3, 1000)
    comparison = compare(3, loads, side("served"), side("library"))
    assert calls == [("served", 3), ("library", 1), *[("served", 3), ("library", 3)] * 2]
    assert (comparison.num_requests, comparison.num_equal) == (6, 6)


def test_events_are_read_with_comments_and_broken_lines_between():
    async def lines():
        for line in [": ping", "", "event: token", 'data: {"token_id": 1}', "", "event:done", "data:{", "data: }", ""]:
            yield line

    async def read():
        return [event async for event in events(lines())]

    assert anyio.run(read) == [("token", {"token_id": 1}), ("done", {})]


def test_the_table_shows_both_sides_and_their_ratio():
    shown = table([Comparison(8, Figures(100, 20, 30, 4, 5), Figures(50, 10, 10, 2, 0), 24, 23)])
    server, library, ratio = shown.splitlines()[2:]
    assert [cell.strip() for cell in server.split("|")][1:4] == ["8", "server", "100.0"]
    assert "50.0" in library
    assert [cell.strip() for cell in ratio.split("|")][3:8] == ["2.00 x", "2.00 x", "3.00 x", "2.00 x", "nan x"]
    assert "23/24" in server


@pytest.mark.parametrize("wrong", [["--streams", "0"], ["--rounds", "-1"], ["--unheard"]])
def test_wrong_options_are_refused(wrong: list[str], capsys):
    with pytest.raises(SystemExit):
        read_options(wrong)
    assert "error" in capsys.readouterr().err
