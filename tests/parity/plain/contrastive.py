"""Contrastive search."""

import torch

from tests.parity.plain.task import Found, Task


def contrastive(task: Task) -> Found:
    """Of the `top_k` likeliest tokens that are not ruled out the one of the best (1 - alpha) p - alpha s.

    p is what the model gives a token, s how much its hidden state is like the nearest before it. Where every token is
    ruled out there is one row of scores more than there are tokens. Source: arXiv:2202.06417.
    """
    alpha, found, token_ids = task.fields["penalty_alpha"], Found(), list(task.prompt_ids)
    processors = task.processors()
    while len(found.token_ids) < task.num_new and not task.ends & set(found.token_ids[-1:]):
        logits, hidden = task.look([token_ids])
        scores = task.processed([token_ids], logits[:, -1], processors)[0]
        is_allowed = scores > torch.finfo(torch.float32).min
        num_candidates = min(task.fields.get("top_k", 50), int(is_allowed.sum()))
        if num_candidates == 0:
            found.scores.append(scores.where(is_allowed, -torch.inf))
            break
        probabilities, candidates = scores.softmax(-1).where(is_allowed, -1.0).topk(num_candidates)
        ahead = task.look([[*token_ids, token] for token in candidates.tolist()])[1][-1][:, -1]  # (k, d)
        similar = torch.cosine_similarity(ahead[:, None], hidden[-1][0][None], dim=-1).amax(-1)  # (k,)
        best = int(((1 - alpha) * probabilities - alpha * similar).argmax())
        found.token_ids.append(int(candidates[best]))
        found.logits.append(logits[0, -1])
        found.scores.append(scores)
        token_ids.append(found.token_ids[-1])
    return found
