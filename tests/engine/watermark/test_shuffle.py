"""The permutations of torch's generator without torch."""

import random

import pytest
import torch

from beamhouse.engine.watermark.shuffle import Shuffle
from tests.engine.watermark.marks import green_list

SEEDS = (0, 1, 123_456_789, 2**32 - 1)


@pytest.mark.parametrize("size", [1, 2, 40, 3007, 50_000])
def test_heads_are_those_of_torch(size: int) -> None:
    shuffle = Shuffle(size)
    for seed in (*SEEDS, 2**40 + 5):
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
        count = size // 3 + 1
        assert shuffle.head(seed, count).tolist() == order[:count].tolist()


@pytest.mark.parametrize("size", [2, 40, 3007, 50_000])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.95])
def test_membership_is_known_without_the_list(size: int, ratio: float) -> None:
    shuffle, rng = Shuffle(size), random.Random(size)
    for seed in SEEDS:
        num_green = int(size * ratio)
        expected = green_list(size, seed, num_green)
        tokens = range(size) if size < 100 else [rng.randrange(size) for _ in range(100)]
        assert [shuffle.holds(seed, num_green, token) for token in tokens] == [token in expected for token in tokens]
