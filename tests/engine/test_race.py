"""Races against `torch.multinomial`: the same winners from the same random numbers, as many of them used."""

import pytest
import torch

from engine.decoding.race import draw, undrawn, winners


@pytest.mark.parametrize("size", [40, 3007, 32000])
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("count", [1, 5])
def test_the_winners_are_those_that_multinomial_draws(size: int, spread: float, count: int) -> None:
    theirs, ours = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for _ in range(20):
        probabilities = (spread * torch.randn(3, size)).softmax(-1)
        expected = torch.multinomial(probabilities, count, generator=theirs)
        drawn = draw(ours, undrawn(3, probabilities))
        assert torch.equal(winners(probabilities, drawn, count), expected)
    assert torch.equal(theirs.get_state(), ours.get_state())


def test_what_cannot_be_drawn_never_wins() -> None:
    probabilities = torch.zeros(1, 3007)
    probabilities[0, 2000] = 1.0
    generator = torch.Generator().manual_seed(0)
    assert all(int(winners(probabilities, draw(generator, undrawn(1, probabilities)))) == 2000 for _ in range(50))


def test_a_number_of_zero_wins_against_all_others() -> None:
    probabilities = torch.tensor([[0.9, 0.1]])
    assert winners(probabilities, torch.tensor([[0.5, 0.0]], dtype=torch.float64)).item() == 1
