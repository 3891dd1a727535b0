"""Steps in which everything happens that a packed runner can be asked."""

import torch

from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.state.batch import Batch, Feed
from beamhouse.engine.state.request import Sequence


def tokens(seed: int, count: int) -> list[int]:
    return torch.randint(3, 150, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def feed(runner: PackedRunner, shares: list[tuple[Sequence, int]]) -> tuple[torch.Tensor, Batch]:
    """One step, in which each sequence feeds so many tokens and asks for the logits of all of them."""
    feeds, copies = [], []
    for sequence, count in shares:
        copies.append(runner.cache.reserve(sequence, count))
        start = sequence.num_cached
        feeds.append(Feed(sequence, sequence.token_ids[start : start + count], num_logits=count))
    batch = Batch(feeds, [], [copy for copy in copies if copy is not None])
    return runner.forward(batch).logits, batch


def mixed_steps(runner: PackedRunner) -> list[torch.Tensor]:
    """Prompts whole and in parts, single tokens, drafts, positions before a sequence, and forks that write."""
    cache = runner.cache
    one, two, three, four = (
        Sequence(tokens(seed, count), num_prompt=count) for seed, count in enumerate((75, 20, 41, 33))
    )
    four.num_masked = 5
    fork = Sequence([*two.token_ids[:19], 99, 98], num_prompt=20)
    logits = [feed(runner, [(one, 30), (two, 19)])[0]]
    cache.fork(two, fork)
    num_copies = 0
    for shares in (
        [(one, 17), (two, 1), (three, 40)],
        [(fork, 2), (three, 1), (one, 1), (four, 30)],
        [(one, 1), (four, 1)],
        [(one, 26), (four, 2)],
    ):
        found, batch = feed(runner, shares)
        logits.append(found)
        num_copies += len(batch.copies)
    assert num_copies == 1
    return logits
