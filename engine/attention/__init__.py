"""Attention over the paged cache, in torch and on a GPU, and the positions of keys."""
