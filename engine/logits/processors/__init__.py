"""The library's logits processors, each for all rows that ask for it at once."""
