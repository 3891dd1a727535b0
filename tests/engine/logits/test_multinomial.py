"""Races against `torch.multinomial`: the same winners from the same random numbers, as many of them used."""

import pytest
import torch

from beamhouse.engine.logits.multinomial import Turn, winners


@pytest.mark.parametrize("size", [40, 3007, 32000])
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("count", [1, 5])
def test_the_winners_are_those_that_multinomial_draws(size: int, spread: float, count: int) -> None:
    theirs, ours = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for _ in range(20):
        probabilities = (spread * torch.randn(3, size)).softmax(-1)
        expected = torch.multinomial(probabilities, count, generator=theirs)
        assert torch.equal(winners(probabilities, [Turn(ours, 3)], count), expected)
    assert torch.equal(theirs.get_state(), ours.get_state())


def test_what_cannot_be_drawn_never_wins() -> None:
    probabilities = torch.zeros(1, 3007)
    probabilities[0, 2000] = 1.0
    generator = torch.Generator().manual_seed(0)
    assert all(int(winners(probabilities, [Turn(generator)])) == 2000 for _ in range(50))


def test_rows_that_do_not_race_use_up_their_numbers_all_the_same() -> None:
    theirs, ours = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    probabilities = torch.randn(4, 3007).softmax(-1)
    expected = torch.multinomial(probabilities, 1, generator=theirs)[[1, 3]]
    assert torch.equal(winners(probabilities[[1, 3]], [Turn(ours, 4, [1, 3])]), expected)
    assert torch.equal(theirs.get_state(), ours.get_state())


def test_many_turns_race_as_each_alone() -> None:
    probabilities = torch.randn(21, 3007).softmax(-1)
    sizes = [1, 3, 12, 5]
    together = winners(probabilities, [seeded_turn(size) for size in sizes])
    alone = [winners(part, [seeded_turn(len(part))]) for part in probabilities.split(sizes)]
    assert torch.equal(together, torch.cat(alone))


def seeded_turn(size: int) -> Turn:
    return Turn(torch.Generator().manual_seed(size), size)
