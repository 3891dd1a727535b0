"""Prompts whose length in tokens is about known, whatever the tokenizer: common words, each a token in most of them."""

from random import Random

COMMON = [
    *("the", "of", "and", "to", "in", "is", "was", "for", "that", "it", "with", "as", "on", "be", "at", "by", "had"),
    *("are", "but", "from", "or", "have", "an", "they", "which", "one", "you", "were", "all", "her", "she", "there"),
    *("would", "their", "we", "him", "been", "has", "when", "who", "will", "no", "more", "if", "out", "so", "up"),
]


def words(draw: Random, number: int) -> str:
    """So many words, in an order that hardly comes twice."""
    return " ".join(draw.choices(COMMON, k=number))
