"""What the servers are asked, and how the arrival of tokens becomes figures."""

import json
import random
from pathlib import Path
from statistics import mean

import pytest
from tokenizers import Tokenizer

from beamhouse.engine.loading.files import BUILTIN_FILES
from benchmarks.cases.loads import LOADS, MIXED_NEW, MIXED_PROMPT, arrivals, closed_loop, mixed, word_ids
from benchmarks.models.llama_shape import SHAPE, num_other_tokens, word_vocabulary, write_tokenizer
from benchmarks.report.figures import Figures, decode_rate
from benchmarks.serving.wire import Streamed

WORDS = range(100, 5000)
BYTES_AND_SPECIAL = 259


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


@pytest.fixture(scope="module")
def small_tokenizer(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    write_tokenizer(folder, *word_vocabulary(1500))
    return folder


def test_every_word_is_one_token_so_that_text_has_an_exact_length(small_tokenizer: Path):
    words = word_ids(small_tokenizer)
    tokenizer = Tokenizer.from_file(str(small_tokenizer / "tokenizer.json"))
    prompt = random.Random(0).choices(words, k=300)
    assert tokenizer.encode(tokenizer.decode(prompt), add_special_tokens=False).ids == prompt
    assert len(words) == 1500 - BYTES_AND_SPECIAL


def test_words_follow_what_the_model_never_chooses():
    vocabulary, merges = word_vocabulary(SHAPE["vocab_size"])
    assert len(vocabulary) == SHAPE["vocab_size"] == BYTES_AND_SPECIAL + len(merges)
    assert num_other_tokens(vocabulary) == BYTES_AND_SPECIAL
    assert sorted(vocabulary.values()) == list(range(SHAPE["vocab_size"]))


@pytest.mark.parametrize("size", [BYTES_AND_SPECIAL + 25, 10**6])
def test_a_vocabulary_that_cannot_be_filled_is_refused(size: int):
    with pytest.raises(ValueError, match="a vocabulary holds 285 to"):
        word_vocabulary(size)


def test_prompts_of_the_built_in_model_are_words_too():
    folder = BUILTIN_FILES
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    names = {number: token for token, number in vocabulary.items()}
    assert len(word_ids(folder)) > 500
    assert all(names[number][1:].isalpha() for number in word_ids(folder))


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
