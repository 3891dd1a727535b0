"""How sides are asked in turn, counted and told."""

import json
import math
from dataclasses import asdict, replace

import pytest

from benchmarks.modes import to_json
from benchmarks.report.comparisons import Comparison, compare, draft_table, mode_table
from tests.benchmarks.cases.drawn import DRAWING, ONE_MODE, Side

COMPARISON = Comparison("beam_search", 8, 120.0, 40.0, 90.0, None, 24, 23, 1152, 0, 0)


def test_sides_take_turns_after_a_warm_up_and_batches_are_of_several():
    calls: list[tuple[str, int]] = []
    rounds = DRAWING.rounds(ONE_MODE["sample"], 3, 3)
    compared = compare(ONE_MODE["sample"], rounds, Side(calls, "ours", 1.0), Side(calls, "theirs", 2.0))
    one_round = [("ours", 3), ("theirs one by one", 3), ("theirs as batch", 3)]
    assert calls == [("ours", 3), ("theirs one by one", 1), *one_round * 2]
    assert (compared.served, compared.one_by_one, compared.as_batch, compared.ratio) == (12, 6, 6, 2)
    assert (compared.num_answers, compared.num_equal, compared.num_tokens) == (6, 6, 24)


def test_drafts_are_compared_with_greedy_search_and_never_as_a_batch():
    calls: list[tuple[str, int]] = []
    rounds = DRAWING.rounds(ONE_MODE["draft_model"], 2, 2)
    compared = compare(ONE_MODE["draft_model"], rounds, Side(calls, "ours", 1.0), Side(calls, "theirs", 2.0))
    assert calls[2:] == [("ours", 2), ("theirs one by one", 2), ("ours", 2)]
    assert (compared.greedy, compared.as_batch) == (8, None)
    assert (compared.num_drafted, compared.num_accepted) == (12, 6)


def test_without_a_library_only_the_server_is_measured():
    calls: list[tuple[str, int]] = []
    rounds = DRAWING.rounds(ONE_MODE["dola_generation"], 2, 2)
    compared = compare(ONE_MODE["dola_generation"], rounds, Side(calls, "ours", 1.0), None)
    assert (compared.served, compared.one_by_one, compared.ratio, compared.num_equal) == (8, None, None, 0)
    assert set(mode_table([compared]).splitlines()[-1].split()) >= {"8.0", "-"}


def test_the_table_shows_rates_their_ratio_and_equal_answers():
    heads, _, row = mode_table([COMPARISON]).splitlines()
    cells = dict(zip(columns(heads), columns(row), strict=True))
    assert cells == {
        "mode": "beam_search",
        "requests": "8",
        "server": "120.0",
        "generate()": "40.0",
        "ratio": "3.00 x",
        "generate(), one batch": "90.0",
        "same tokens": "23/24",
    }


def test_the_acceptance_needed_is_what_a_draft_costs():
    # 100 tokens in 80 % of the time of 100 plain steps: 60 steps were made, so 80 drafts cost 20 steps.
    drafted = replace(COMPARISON, greedy=80.0, served=100.0, num_tokens=100, num_drafted=80, num_accepted=40)
    assert (drafted.acceptance, drafted.draft_cost) == pytest.approx((0.5, 0.25))
    assert columns(draft_table([COMPARISON, drafted]).splitlines()[-1])[2:] == [
        *("80.0", "100.0", "1.25 x", "80", "40", "50%", "25%")
    ]


def test_drafts_that_gain_nothing_have_just_the_acceptance_they_need():
    drafted = replace(COMPARISON, greedy=90.0, served=90.0, num_tokens=100, num_drafted=50, num_accepted=20)
    assert drafted.draft_cost == pytest.approx(drafted.acceptance)


def test_without_drafts_there_is_nothing_to_say_of_them():
    assert draft_table([COMPARISON]) == ""
    assert math.isnan(COMPARISON.acceptance)
    assert math.isnan(COMPARISON.draft_cost)
    assert "acceptance" not in to_json(COMPARISON)


def test_json_holds_what_is_derived_too():
    drafted = replace(COMPARISON, greedy=80.0, served=100.0, num_tokens=100, num_drafted=80, num_accepted=40)
    written = json.loads(json.dumps(to_json(drafted), allow_nan=False))
    assert written == asdict(drafted) | {"ratio": 2.5, "acceptance": 0.5, "acceptance_needed": 0.25}


def columns(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
