"""Draws and cuts in the kernels: what torch gives, or nothing where that is in doubt."""

import numpy as np
import pytest
import torch

from beamhouse.engine.logits.multinomial import Turn, certain
from beamhouse.engine.logits.sparse_scores import Survivors, ascending, ascending_places, keep_largest
from beamhouse.engine.native import choices
from beamhouse.engine.native.library import Kernels, load_kernels
from beamhouse.engine.watermark.shuffle import Shuffle

SIZES = (2, 40, 311, 3007, 32000)


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return load_kernels(request.param)


def drawn_scores(num_rows: int, size: int, spread: float, seed: int) -> torch.Tensor:
    return spread * torch.randn(num_rows, size, generator=torch.Generator().manual_seed(seed))


def generators(count: int, num_used: int = 0) -> list[torch.Generator]:
    """Their streams begin behind `num_used` single words, an odd number of which splits pairs between two turns."""
    made = [torch.Generator().manual_seed(seed) for seed in range(count)]
    for one in made:
        torch.rand(num_used, generator=one)
    return made


def multinomial(scores: torch.Tensor, drawing: list[torch.Generator]) -> list[int]:
    """One row for each generator."""
    rows = zip(scores.softmax(-1), drawing, strict=True)
    return [int(torch.multinomial(row, 1, generator=generator)) for row, generator in rows]


def tied_scores(size: int, generator: torch.Generator) -> torch.Tensor:
    """Scores with which every token does as well as any other in the generator's next race. (1, size)"""
    ahead = torch.Generator().set_state(generator.get_state())
    return torch.empty(1, size).exponential_(generator=ahead).log()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("num_rows", [1, 17])
def test_the_winners_are_those_that_multinomial_draws(
    kernels: Kernels, size: int, spread: float, num_rows: int
) -> None:
    theirs, ours = generators(num_rows, num_used=3), generators(num_rows, num_used=3)
    for seed in range(6):
        scores = drawn_scores(num_rows, size, spread, seed)
        found = certain(scores, range(num_rows), [Turn(one) for one in ours], kernels)
        assert found == multinomial(scores, theirs)
    assert all(torch.equal(one.get_state(), two.get_state()) for one, two in zip(theirs, ours, strict=True))


def test_many_rows_of_a_large_vocabulary_are_cut_and_raced_as_each_alone(kernels: Kernels) -> None:
    scores = drawn_scores(65, 32000, 3.0, seed=0)
    expected, _ = keep_largest(scores.clone(), [20] * 65)
    assert choices.cut_to_largest(kernels, scores, [20] * 65) is not None
    assert torch.equal(scores, expected)
    found = certain(scores, range(65), [Turn(one) for one in generators(65)], kernels)
    assert found == multinomial(scores, generators(65))


@pytest.mark.parametrize("k", [1, 50])
def test_after_a_cut_only_what_is_left_is_drawn_and_all_numbers_are_used_up(kernels: Kernels, k: int) -> None:
    theirs, ours = generators(4), generators(4)
    for seed in range(20):
        scores, _ = keep_largest(drawn_scores(4, 32000, 3.0, seed), [k] * 4)
        found = certain(scores, range(4), [Turn(one) for one in ours], kernels)
        assert found == multinomial(scores, theirs)
    assert all(torch.equal(one.get_state(), two.get_state()) for one, two in zip(theirs, ours, strict=True))


def test_rows_that_have_ended_use_up_their_numbers_and_one_row_may_serve_many(kernels: Kernels) -> None:
    theirs, ours = generators(2), generators(2)
    scores = drawn_scores(3, 3007, 3.0, seed=0)
    turns = [Turn(ours[0], 4, [1, 3]), Turn(ours[1], 3)]
    found = certain(scores, [0, 1, 2, 2, 2], turns, kernels)
    rows = scores.softmax(-1)
    first = torch.multinomial(rows[[0, 0, 0, 1]], 1, generator=theirs[0])[[1, 3]]
    second = torch.multinomial(rows[[2, 2, 2]], 1, generator=theirs[1])
    assert found == [*first.flatten().tolist(), *second.flatten().tolist()]
    assert all(torch.equal(one.get_state(), two.get_state()) for one, two in zip(theirs, ours, strict=True))


@pytest.mark.parametrize("size", SIZES)
def test_where_rounding_would_decide_nothing_is_drawn(kernels: Kernels, size: int) -> None:
    (generator,) = generators(1)
    before = generator.get_state()
    assert certain(tied_scores(size, generator), [0], [Turn(generator)], kernels) is None
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", [0, 3006])
def test_from_a_bad_row_nothing_is_drawn_for_any(kernels: Kernels, bad: float, place: int) -> None:
    scores, drawing = drawn_scores(3, 3007, 1.0, seed=0), generators(3)
    before = [one.get_state() for one in drawing]
    scores[1, place] = bad
    assert certain(scores, range(3), [Turn(one) for one in drawing], kernels) is None
    scores[1] = -torch.inf
    assert certain(scores, range(3), [Turn(one) for one in drawing], kernels) is None
    assert all(torch.equal(one.get_state(), state) for one, state in zip(drawing, before, strict=True))


@pytest.mark.parametrize("size", [3007, 32000])
@pytest.mark.parametrize("decimals", [1, 7])  # with many ties, and with hardly any
@pytest.mark.parametrize("num_rows", [4, 20])
def test_the_largest_scores_are_kept_with_what_ties_with_the_last(
    kernels: Kernels, size: int, decimals: int, num_rows: int
) -> None:
    scores = drawn_scores(num_rows, size, 3.0, seed=size).round(decimals=decimals)
    scores[1, 30:] = -torch.inf
    k = [1 + 3 * (row % 4) for row in range(num_rows)]
    expected = torch.stack(
        [row.masked_fill(row < row.topk(one).values[-1], -torch.inf) for row, one in zip(scores, k, strict=True)]
    )
    places = choices.cut_to_largest(kernels, scores, k)
    assert places is not None
    assert torch.equal(scores, expected)
    assert torch.equal(
        Survivors.at(places, num_rows, size).gather(scores), Survivors.of(~scores.isneginf()).gather(scores)
    )


@pytest.mark.parametrize("size", [1, 3007, 32000])
@pytest.mark.parametrize("decimals", [1, 7])
def test_rows_are_put_in_the_order_of_a_stable_sort(kernels: Kernels, size: int, decimals: int) -> None:
    scores = drawn_scores(3, size, 3.0, seed=size).round(decimals=decimals)
    scores[0, size // 2 :] = -torch.inf
    scores[1, 0] = torch.tensor(0xFFC00000 - 2**32, dtype=torch.int32).view(torch.float32)  # NaN with a sign
    scores[2, size // 3] = torch.inf
    expected = scores.sort(dim=-1, stable=True)
    assert torch.equal(choices.sort(kernels, scores).nan_to_num(nan=99.0), expected.values.nan_to_num(nan=99.0))
    assert torch.equal(choices.argsort(kernels, scores.abs()), scores.abs().sort(dim=-1, stable=True).indices)
    assert torch.equal(ascending(scores[[0, 2]], kernels), ascending(scores[[0, 2]]))
    assert torch.equal(ascending_places(scores[[0, 2]].abs(), kernels), ascending_places(scores[[0, 2]].abs()))


@pytest.mark.parametrize("size", [1, 50, 32000, 2**20])
def test_swaps_are_those_of_the_shuffle_without_kernels(kernels: Kernels, size: int) -> None:
    plain, swift = Shuffle(size), Shuffle(size, choices.swaps_for(kernels, size))
    for seed in (0, 1, 77, 2**31 + 5, 2**32 - 1):
        assert np.array_equal(plain._swaps(seed, size), swift._swaps(seed, size))
        tokens = range(0, size, 1 + size // 20)
        assert [swift.holds(seed, size // 4, token) for token in tokens] == [
            plain.holds(seed, size // 4, token) for token in tokens
        ]


def test_larger_shuffles_are_left_as_they_are(kernels: Kernels) -> None:
    assert choices.swaps_for(kernels, 2**20 + 1) is None


@pytest.mark.parametrize("fault", ["not a number", "all the same", "a large k", "nothing left"])
def test_rows_the_kernels_do_not_serve_are_left_to_torch(kernels: Kernels, fault: str) -> None:
    scores, k = drawn_scores(3, 3007, 3.0, seed=0), [5, 20, 5]
    if fault == "not a number":
        scores[1, 3006] = torch.nan
    elif fault == "all the same":
        scores[1] = 1.0
    elif fault == "a large k":
        k[1] = 2000
    else:
        scores[1] = -torch.inf
    expected, _ = keep_largest(scores.clone(), k)
    assert choices.cut_to_largest(kernels, scores, k) is None
    assert torch.equal(keep_largest(scores, k)[0].nan_to_num(), expected.nan_to_num())
