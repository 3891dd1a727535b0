"""The scores of the pipeline against those of the library's own processors."""

import random
from dataclasses import replace

import pytest
import torch

from beamhouse.engine.link.messages import Constraint
from beamhouse.engine.logits.bad_rows import bad_rows
from beamhouse.engine.logits.constraints.constraint import Constraints
from beamhouse.engine.logits.pipeline import in_order
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.state.request import Request, Row
from tests.engine.logits.scoring import Library, make_pipeline, make_request, make_row, process, random_fields

SMALL, LARGE = 40, 3007
ALONE = {
    "sequence_bias": [{"sequence_bias": [([3], 2.0), ([1, 3], -1.5), ([2, 1, 3], 4.0), ([5, 6], 1.0)]}],
    "encoder_repetition_penalty": [{"encoder_repetition_penalty": 1.3}, {"encoder_repetition_penalty": 0.7}],
    "repetition_penalty": [{"repetition_penalty": 1.3}, {"repetition_penalty": 0.7}],
    "no_repeat_ngram_size": [{"no_repeat_ngram_size": size} for size in (1, 2, 3, 9)],
    "encoder_no_repeat_ngram_size": [{"encoder_no_repeat_ngram_size": size} for size in (1, 2, 3, 9)],
    "bad_words_ids": [{"bad_words_ids": [[3], [1, 4], [2, 1, 5], [39]]}],
    "min_length": [{"min_length": 7}],
    "min_new_tokens": [{"min_new_tokens": 3}],
    "forced_bos_token_id": [{"forced_bos_token_id": 5}],
    "forced_eos_token_id": [{"forced_eos_token_id": 39}, {"forced_eos_token_id": [38, 39]}],
    "remove_invalid_values": [{"remove_invalid_values": True}],
    "exponential_decay_length_penalty": [{"exponential_decay_length_penalty": (1, 1.2)}],
    "suppress_tokens": [{"suppress_tokens": [1, 2, 39]}, {"suppress_tokens": []}],
    "begin_suppress_tokens": [{"begin_suppress_tokens": [1, 2]}],
    "temperature": [{"temperature": value, "do_sample": True} for value in (0.01, 0.7, 3.3)],
    "top_h": [{"top_h": value, "do_sample": True} for value in (0.05, 0.5, 1.0)],
    "top_k": [{"top_k": value, "do_sample": True} for value in (1, 7, 50, 3000)],
    "top_p": [{"top_p": value, "do_sample": True} for value in (0.0, 0.3, 0.95)],
    "min_p": [{"min_p": value, "do_sample": True} for value in (0.0, 0.2, 1.0)],
    "typical_p": [{"typical_p": value, "do_sample": True} for value in (0.1, 0.9)],
    "epsilon_cutoff": [{"epsilon_cutoff": value, "do_sample": True} for value in (0.001, 0.5)],
    "eta_cutoff": [{"eta_cutoff": value, "do_sample": True} for value in (0.001, 0.5)],
    "renormalize_logits": [{"renormalize_logits": True}],
    "prefix_allowed_tokens": [{"constraint": Constraint(token_ids=[1, 4, 39])}],
}


@pytest.fixture(scope="module")
def library() -> Library:
    return Library()


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert torch.equal(ours.isneginf(), theirs.isneginf())
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))


def assert_same_as(library: Library, rows: list[Row], logits: torch.Tensor, ours: torch.Tensor) -> None:
    """Where the library raises at a row without a finite score, ours is a bad row.

    Normalised once more, a row without a token that is left is NaN to the library; ours stays ruled out.
    """
    try:
        theirs = library.process(rows, logits)
    except ValueError:
        assert bad_rows(ours, for_sampling=True).any()
        return
    is_ruled_out = (ours.isneginf() & theirs.isnan()).all(-1, keepdim=True)
    assert not is_ruled_out.any() or rows[0].request.config.renormalize_logits
    assert_same(ours, theirs.masked_fill(is_ruled_out, -torch.inf))


def random_row(rng: random.Random, request: Request, vocab_size: int, most: int = 8) -> Row:
    # Few different tokens, so that penalties, n-grams and phrases find something.
    return make_row(request, [rng.randrange(min(8, vocab_size)) for _ in range(rng.randint(0, most))])


def random_request(rng: random.Random, vocab_size: int) -> Request:
    eos = rng.choice([(), (vocab_size - 1,), (vocab_size - 1, vocab_size - 2)])
    prompt = [rng.randrange(8) for _ in range(rng.randint(1, 7))]
    fields = random_fields(rng, vocab_size, bool(eos)) | {"max_length": len(prompt) + rng.randint(1, 9)}
    allowed = Constraint(token_ids=[rng.randrange(vocab_size) for _ in range(5)]) if rng.random() < 0.15 else None
    return make_request(prompt, eos, allowed, **fields)


def random_logits(rng: random.Random, num_rows: int, vocab_size: int) -> torch.Tensor:
    return torch.randn(num_rows, vocab_size, generator=torch.Generator().manual_seed(rng.randrange(2**31))) * 3


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("vocab_size", [SMALL, LARGE])
def test_a_processor_alone_equals_the_library(library: Library, name: str, vocab_size: int) -> None:
    rng = random.Random(name)
    pipeline = make_pipeline(vocab_size)
    for fields in ALONE[name]:
        for prompt in ([1], [2, 1, 4, 2, 1]):
            for eos in ((39,), (38, 39)):
                request = make_request(prompt, eos, **{"max_length": 9} | fields)
                row = random_row(rng, request, vocab_size)
                logits = random_logits(rng, 1, vocab_size)
                assert_same(process(pipeline, [row], logits), library.process([row], logits))


def test_every_other_processor_is_compared_alone() -> None:
    """Guidance and diversity depend on other rows: tests/parity holds them to whole generations.

    The penalties on what was generated are ours.
    """
    names = {processor.name for processor in in_order(Registry({}, {}), Constraints(0, {}, None), ())}
    assert names - {"logits_processor", "guidance_scale", "diversity_penalty", "frequency_penalty"} == set(ALONE)


def test_diversity_takes_its_penalty_once_for_each_row_that_took_a_token() -> None:
    request = make_request([1, 2], num_beams=4, num_beam_groups=2, diversity_penalty=0.5)
    logits = torch.randn(2, SMALL)
    rows = [replace(make_row(request, [3]), taken=(7, 9, 7)), make_row(request, [4])]
    scores = process(make_pipeline(SMALL), rows, logits)
    expected = logits.clone()
    expected[0, 7] -= 1.0
    expected[0, 9] -= 0.5
    assert torch.equal(scores, expected)


@pytest.mark.parametrize("seed", range(24))
def test_random_mixtures_in_mixed_batches_equal_the_library_one_by_one(library: Library, seed: int) -> None:
    rng = random.Random(seed)
    vocab_size = LARGE if seed % 3 == 0 else SMALL
    rows = [random_row(rng, random_request(rng, vocab_size), vocab_size) for _ in range(12)]
    logits = random_logits(rng, len(rows), vocab_size)
    before = logits.clone()
    together = process(make_pipeline(vocab_size), rows, logits)
    assert torch.equal(logits, before)
    for place, row in enumerate(rows):
        assert_same_as(library, [row], logits[place : place + 1], together[place : place + 1])


@pytest.mark.parametrize("seed", range(12))
def test_a_row_scores_the_same_bits_alone_and_among_others(seed: int) -> None:
    rng = random.Random(seed)
    pipeline = make_pipeline(LARGE)
    rows = [random_row(rng, random_request(rng, LARGE), LARGE) for _ in range(8)]
    logits = random_logits(rng, len(rows), LARGE)
    together = process(pipeline, rows, logits)
    alone = torch.cat([process(pipeline, [row], logits[place : place + 1]) for place, row in enumerate(rows)])
    assert torch.equal(together.nan_to_num(7.0), alone.nan_to_num(7.0))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("eos", [(), (38, 39)])
def test_beams_keep_as_many_tokens_as_the_library(library: Library, seed: int, eos: tuple[int, ...]) -> None:
    rng = random.Random(seed)
    fields = random_fields(rng, SMALL, bool(eos)) | {"num_beams": 3, "max_length": 30}
    request = make_request([1, 2, 3], eos, Constraint(token_ids=[5]) if seed % 4 == 0 else None, **fields)
    rows = [make_row(request, [rng.randrange(6) for _ in range(4)]) for _ in range(3)]
    logits = random_logits(rng, 3, SMALL).log_softmax(-1)
    assert_same_as(library, rows, logits, process(make_pipeline(SMALL), rows, logits))


@pytest.mark.parametrize("num_beams", [1, 2])
def test_allowed_tokens_win_only_where_every_beam_is_dead(library: Library, num_beams: int) -> None:
    fields = {"bad_words_ids": [[1, 5], [6]], "num_beams": num_beams, "max_length": 30}
    request = make_request([3], (), Constraint(token_ids=[5, 6]), **fields)
    rows = [make_row(request, [1]), make_row(request, [2])]
    logits = torch.randn(2, SMALL)
    ours = process(make_pipeline(SMALL), rows, logits)
    if num_beams == 2:
        assert_same(ours, library.process(rows, logits))
        assert ours[0].isneginf().all()
    else:
        assert ours[0].isfinite().nonzero().flatten().tolist() == [5, 6]
    assert ours[1].isfinite().nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_no_numbers_come_out_as_in_the_library(library: Library, value: float) -> None:
    logits = torch.randn(1, SMALL)
    logits[0, 7] = value
    for fields in ({"remove_invalid_values": True}, {"repetition_penalty": 1.3}, {"suppress_tokens": [7]}):
        row = make_row(make_request([7, 1], (7,), **fields), [])
        assert_same(process(make_pipeline(SMALL), [row], logits), library.process([row], logits))


def test_cuts_after_top_k_give_the_bits_of_a_full_sort(library: Library) -> None:
    rng = random.Random(0)
    for vocab_size in (32000, 50257):
        fields = {"temperature": 0.8, "top_k": 50, "do_sample": True}
        for more in ({"top_p": 0.7}, {"typical_p": 0.6}):
            row = make_row(make_request([1], **fields, **more), [])
            logits = random_logits(rng, 1, vocab_size)
            assert torch.equal(process(make_pipeline(vocab_size), [row], logits), library.process([row], logits))


def test_ties_at_the_last_rank_all_stay() -> None:
    logits = torch.zeros(1, 3000)
    logits[0, :2] = 1.0
    scores = process(make_pipeline(3000), [make_row(make_request([1], top_k=3, do_sample=True), [])], logits)
    assert scores.isfinite().all()


def test_the_larger_growth_than_a_double_holds_forces_the_end_token() -> None:
    request = make_request([1], (4,), exponential_decay_length_penalty=(0, 90.0))
    scores = process(make_pipeline(SMALL), [make_row(request, [1] * 400)], torch.ones(1, SMALL))
    assert scores.argmax().item() == 4


def test_long_ngrams_are_found_and_compared_whole(library: Library) -> None:
    phrase = list(range(30))
    for generated in ([*phrase, 33, *phrase], [39, *phrase[1:], 33, *phrase]):
        row = make_row(make_request([35], no_repeat_ngram_size=31), generated)
        logits = torch.randn(1, SMALL)
        assert_same(process(make_pipeline(SMALL), [row], logits), library.process([row], logits))


def test_bad_words_that_are_end_tokens_alone_ban_nothing(library: Library) -> None:
    request = make_request([1, 2], (7, 3), bad_words_ids=[[7], [3]])
    rows, logits = [make_row(request, [5])], torch.randn(1, SMALL)
    assert_same_as(library, rows, logits, process(make_pipeline(SMALL), rows, logits.clone()))
