"""Diverse beam search."""

import torch

from tests.parity.plain.beams import (
    Hypothesis,
    Pool,
    best_first,
    best_of,
    continuations,
    first_beams,
    parted,
    totals_of,
)
from tests.parity.plain.task import Task


def group_beam_search(task: Task) -> list[Hypothesis]:
    """Groups of beams choose one after another; a token loses `diversity_penalty` for each beam of the groups before
    that goes on with it in this step.

    A group that is done goes on with padding, for what it is worth. At the greatest length the beams of all others end.
    What two groups found alike is returned twice, that of the later group first.
    Source: arXiv:1610.02424, algorithm 1 with Hamming diversity; as in transformers 4.x.
    """
    size = task.fields["num_beams"] // task.fields["num_beam_groups"]
    processors, pools, groups = task.processors(), [], []
    for _ in range(task.fields["num_beam_groups"]):
        pools.append(Pool(task, size))
        groups.append(first_beams(size))
    for _ in range(task.num_new):
        taken = torch.zeros(task.vocab_size)  # (V,), how often
        for number, (pool, live) in enumerate(zip(pools, groups, strict=True)):
            if not live:
                taken[task.pad] += size
                continue
            totals = totals_of(task, live, processors, task.fields["diversity_penalty"] * taken)
            candidates = continuations(live, totals, best_of(task, totals), first_row=number * size)
            going_on, ended = parted(task, candidates, size)
            pool.add(ended)
            for beam in going_on[:size]:
                taken[beam.token_ids[-1]] += 1
            groups[number] = going_on[:size] if pool.can_improve(candidates[0]) else []
    for pool, live in zip(pools, groups, strict=True):
        pool.add(live)
    found = [hypothesis for pool in reversed(pools) for hypothesis in pool.hypotheses]
    return best_first(found)[: task.fields.get("num_return_sequences", 1)]
