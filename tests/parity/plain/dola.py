"""Decoding by contrasting layers."""

import torch

from tests.parity.models import reference
from tests.parity.plain.task import Found, Task


def dola(task: Task, layers: list[int], seed: int = 0) -> list[Found]:
    """The last layer less the one of `layers` that differs most; greedy, or drawn for each sequence in turn.

    Source: arXiv:2309.03883.
    """
    generator = torch.Generator().manual_seed(seed)
    all_found = [Found() for _ in range(task.fields.get("num_return_sequences", 1))]
    processors = [task.processors() for _ in all_found]
    for _ in range(task.num_new):
        race = torch.empty(len(all_found), task.vocab_size).exponential_(generator=generator)
        for found, ticket, own in zip(all_found, race, processors, strict=True):
            if task.ends & set(found.token_ids[-1:]):
                continue
            token_ids = task.prompt_ids + found.token_ids
            logits, hidden = task.look([token_ids])
            contrast = _contrast(task, logits[0, -1], [hidden[layer][0, -1] for layer in layers])
            scores = task.processed([token_ids], contrast[None], own)[0]
            picked = (scores.softmax(-1) / ticket).argmax() if task.fields.get("do_sample") else scores.argmax()
            found.token_ids.append(int(picked))
            found.logits.append(logits[0, -1])
            found.scores.append(scores)
    return all_found


def _contrast(task: Task, logits: torch.Tensor, states: list[torch.Tensor]) -> torch.Tensor:
    """Log p of the last layer less that of the early layer with the largest divergence, of likely tokens. (V,)"""
    head = reference(task.family).get_output_embeddings()
    last, best, least = logits.softmax(-1), logits, -1.0
    with torch.inference_mode():
        for state in states:
            early = head(state)
            middle = (last + early.softmax(-1)) / 2
            entropy = torch.xlogy(middle, middle)
            distances = [(entropy - middle * one.log_softmax(-1)).mean() for one in (logits, early)]
            if sum(distances) / 2 > least:
                best, least = early, float(sum(distances) / 2)
        contrast = logits.log_softmax(-1) - best.log_softmax(-1)
    return contrast.where(last >= 0.1 * last.max(), -torch.inf)
