"""The short ways to the best scores, held to the long ones."""

import pytest
import torch

from beamhouse.engine.logits.sparse_scores import (
    Survivors,
    ascending,
    ascending_places,
    best,
    drop_smallest,
    keep_largest,
    largest,
)

SIZES = (40, 3007, 8192)


@pytest.mark.parametrize("vocab_size", SIZES)
def test_the_best_score_is_the_first_on_ties_and_a_nan_before_all(vocab_size: int) -> None:
    scores = torch.randn(4, vocab_size).round(decimals=1)
    scores[1] = -torch.inf
    scores[2, 7] = scores[2, 9] = torch.nan
    assert torch.equal(best(scores), scores.argmax(-1))
    assert best(scores)[1:3].tolist() == [0, 7]


@pytest.mark.parametrize("vocab_size", SIZES)
@pytest.mark.parametrize("decimals", [1, 7])  # with many ties, and with hardly any
def test_the_largest_scores_are_those_of_topk(vocab_size: int, decimals: int) -> None:
    scores = (3 * torch.randn(5, vocab_size)).round(decimals=decimals)
    scores[1, 10:] = -torch.inf
    scores[2, 5] = torch.nan
    for k in (1, 16, 24):
        values, places = largest(scores, k)
        expected = scores.topk(k)
        assert torch.equal(values.nan_to_num(nan=99.0), expected.values.nan_to_num(nan=99.0))
        assert torch.equal(places, expected.indices)


@pytest.mark.parametrize("vocab_size", SIZES)
def test_each_row_keeps_its_own_number_and_what_ties_with_the_last(vocab_size: int) -> None:
    scores = torch.randn(5, vocab_size).round(decimals=2)
    k = [1, 3, 10, vocab_size // 2, vocab_size]
    for rows in ([0, 1, 2], [0, 1, 2, 3, 4]):
        limit = torch.stack([scores[row].sort(descending=True).values[k[row] - 1] for row in rows])[:, None]
        expected = scores[rows].masked_fill(scores[rows] < limit, -torch.inf)
        kept, survivors = keep_largest(scores[rows], [k[row] for row in rows])
        assert torch.equal(kept, expected)
        if survivors is not None:
            narrow = survivors.gather(kept)
            assert torch.equal(survivors.put(torch.full_like(kept, -torch.inf), narrow), expected)


def test_of_equal_scores_the_first_are_dropped() -> None:
    scores = torch.tensor([[2.0, 1.0, 3.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
    left = drop_smallest(scores.clone(), ascending(scores), torch.tensor([[2], [3]]))
    assert left.isneginf().tolist() == [[False, True, False, True, False], [True, True, True, False, False]]


def test_distances_are_ordered_as_by_a_stable_sort() -> None:
    distances = torch.randn(3, 3007).round(decimals=2).abs()
    distances[0, 5] = distances[0, 9] = torch.inf
    distances[1, 7] = torch.nan
    assert torch.equal(ascending_places(distances), distances.sort(dim=-1, stable=True).indices)


def test_the_narrow_form_names_its_tokens_in_order() -> None:
    counts = torch.zeros(2, 3007, dtype=torch.bool)
    counts[0, [5, 70, 3006]] = counts[1, [1]] = True
    survivors = Survivors.of(counts)
    assert survivors.tokens(3007)[:, :4].tolist() == [[5, 70, 3006, 0], [1, 0, 0, 0]]
    assert survivors.shape[1] % 64 == 3007 % 64
