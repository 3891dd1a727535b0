"""Prompts of random tokens."""

import random


def draw_ids(draw: random.Random, num_tokens: int, vocab_size: int) -> list[int]:
    """Random tokens without the first tenth of the vocabulary, where special tokens mostly are."""
    return [draw.randrange(vocab_size // 10, vocab_size) for _ in range(num_tokens)]
