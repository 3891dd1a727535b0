"""How far right float32 computations of the same scores may lie apart: from the sizes of the model, not from a machine.

A sum of n products, in any order, errs like a random walk: by about sqrt(n) units in the last place of its largest
number, rarely by a few times as much (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019). What one errs goes through
the next ones, whose errors add up in the same way. Processors, kernels, threads and vector widths change the order.
"""

import math

import torch
from transformers import PretrainedConfig

EPS = torch.finfo(torch.float32).eps
SUMS_OF_A_LAYER = 6  # one after another: queries and keys, their products, the mix of values, output, up, down
LONGEST_SUM, NUM_LAYERS = 128, 2  # of the tiny models


def drift(values: torch.Tensor, config: PretrainedConfig | None = None) -> float:
    """The most by which right values may differ from these. config: of the model they come from, else of a tiny one."""
    longest, layers = LONGEST_SUM, NUM_LAYERS
    if config is not None:
        longest = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
        layers = config.num_hidden_layers
    finite = values[values.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    # Both computations err, and the head is one more sum.
    return 2 * math.sqrt(longest * (SUMS_OF_A_LAYER * layers + 1)) * EPS * largest


def times_as_far(num_tokens: int, length_penalty: float) -> float:
    """How many times as far as a log-probability the score of a hypothesis may lie apart.

    As many of them were added up, and divided by a power of the length.
    """
    return float(num_tokens ** (1 - length_penalty))


def assert_close(actual: torch.Tensor, expected: torch.Tensor, config: PretrainedConfig | None = None) -> None:
    """Equal up to the drift of the largest; infinities and NaN at the same places."""
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=drift(expected, config), equal_nan=True)


def assert_same_scores(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal where our rows still live: the library goes on scoring rows that have ended."""
    lives = ~actual.isnan()
    assert_close(actual[lives], expected[lives])
