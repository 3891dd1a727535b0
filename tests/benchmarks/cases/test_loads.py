"""What the servers are asked."""

import json
import random
from statistics import mean

import pytest

from beamhouse.engine.loading.files import BUILTIN_FILES
from benchmarks.cases.loads import LOADS, MIXED_NEW, MIXED_PROMPT, arrivals, closed_loop, mixed, word_ids

WORDS = range(100, 5000)


def test_a_closed_loop_has_exactly_the_lengths_that_its_title_says():
    lanes = closed_loop(8, 128, 64, 2).lanes(0, 1, WORDS)
    assert [len(lane) for lane in lanes] == [2] * 8
    assert {(len(ask.prompt), ask.num_new, ask.at_s) for lane in lanes for ask in lane} == {(128, 64, 0.0)}


def test_all_servers_get_the_same_prompts_in_a_round_and_none_twice():
    load = closed_loop(3, 16, 4, 2)
    assert load.lanes(0, 1, WORDS) == load.lanes(0, 1, WORDS)
    prompts = [tuple(ask.prompt) for number in (1, 2) for lane in load.lanes(0, number, WORDS) for ask in lane]
    assert len(set(prompts)) == len(prompts) == 12
    assert load.lanes(0, 1, WORDS) != load.lanes(1, 1, WORDS)


def test_the_longest_request_counts_its_answer_too():
    assert closed_loop(2, 128, 64, 2).longest(0, WORDS) == 192


def test_loads_have_names_of_their_own():
    assert len({load.name for load in LOADS}) == len(LOADS)


def test_arrivals_ascend_at_the_asked_rate():
    times = arrivals(random.Random(1), 4000, 0.5)
    assert times == sorted(times)
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    assert mean(gaps) == pytest.approx(2.0, rel=0.1)
    assert mean(gap > 2.0 for gap in gaps) == pytest.approx(0.368, rel=0.1)  # 1/e: the gaps are exponential


def test_mixed_requests_come_one_by_one_with_lengths_inside_the_bounds():
    lanes = mixed(200, 1.0).lanes(0, 1, WORDS)
    assert [len(lane) for lane in lanes] == [1] * 200
    asks = [lane[0] for lane in lanes]
    assert len({ask.at_s for ask in asks}) == 200
    for lengths, (least, most) in (
        ([len(ask.prompt) for ask in asks], MIXED_PROMPT),
        ([ask.num_new for ask in asks], MIXED_NEW),
    ):
        assert least <= min(lengths) < max(lengths) <= most


def test_prompts_of_the_built_in_model_are_words_too():
    folder = BUILTIN_FILES
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    names = {number: token for token, number in vocabulary.items()}
    assert len(word_ids(folder)) > 500
    assert all(names[number][1:].isalpha() for number in word_ids(folder))
