"""Assisted decoding: a draft is cheap, and one look of the model at it decides how much of it stays."""

from collections.abc import Callable

import torch
from transformers import LogitsProcessorList, PreTrainedModel

from tests.parity.plain.task import Found, Task
from tests.parity.running import until_end

Draft = tuple[list[int], torch.Tensor | None]
"""Proposed tokens, and the distributions they come from where the drafter knows them, (n, V)."""

Drafter = Callable[[list[int], int, torch.Generator], Draft]
"""Proposes what follows the tokens of a sequence, at most so many."""


def assisted(task: Task, drafter: Drafter, seed: int = 0) -> Found:
    """Of each draft stays what the model would have said itself; then one more token of the model's own.

    Greedy tokens, and drawn ones where the drafter knows no distribution, are compared. Source: arXiv:2211.17192, and
    https://huggingface.co/blog/assisted-generation; as in transformers 5.x.
    """
    generator, processors, found = torch.Generator().manual_seed(seed), task.processors(), Found()
    num_tokens = task.fields.get("num_assistant_tokens", 1)
    while len(found.token_ids) < task.num_new and not task.ends & set(found.token_ids[-1:]):
        token_ids, room = task.prompt_ids + found.token_ids, task.num_new - len(found.token_ids) - 1
        drafted, proposed = drafter(token_ids, min(num_tokens, room), generator) if room else ([], None)
        rows = [token_ids + drafted[:place] for place in range(len(drafted) + 1)]
        logits = task.look(rows[-1:])[0][0, len(token_ids) - 1 :]  # (n + 1, V)
        processed = [task.processed([row], one[None], processors) for row, one in zip(rows, logits, strict=True)]
        scores = torch.cat(processed)  # (n + 1, V)
        if task.fields.get("do_sample") and proposed is not None:
            kept = rejection_sampled(drafted, proposed, scores.softmax(-1), generator)
        else:
            kept = agreed(drafted, own_tokens(task, scores, generator))
        if "heuristic" in task.fields.get("num_assistant_tokens_schedule", "constant"):
            num_tokens = num_tokens + 2 if len(kept) > len(drafted) else max(1, num_tokens - 1)
        stays = until_end(kept, task.ends)[: room + 1]
        found.num_drafted += min(len(drafted), room)
        found.num_accepted += min(len(kept) - 1, room, len(stays))
        found.token_ids += stays
        found.logits += logits[: len(stays)]
        found.scores += scores[: len(stays)]
    return found


def own_tokens(task: Task, scores: torch.Tensor, generator: torch.Generator) -> list[int]:
    """What the model says at every place. scores: (n + 1, V)"""
    if task.fields.get("do_sample"):
        return torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0].tolist()
    return scores.argmax(-1).tolist()


def agreed(drafted: list[int], own: list[int]) -> list[int]:
    """The draft up to where the model says something else, and what it says there. own: one token more."""
    num_same = 0
    while num_same < len(drafted) and drafted[num_same] == own[num_same]:
        num_same += 1
    return own[: num_same + 1]


def rejection_sampled(
    drafted: list[int], proposed: torch.Tensor, probabilities: torch.Tensor, generator: torch.Generator
) -> list[int]:
    """Tokens that are distributed as the model's own, whatever they were drawn from.

    A token of the draft, drawn from q, stays with probability min(1, p / q). In the place of the first that does not
    stands one drawn from what p has more than q; behind a draft that stays whole one drawn from p. proposed: q, (n, V).
    probabilities: p, (n + 1, V). Source: arXiv:2211.17192, algorithm 1.
    """
    uniform = torch.rand(len(drafted), generator=generator)
    for place, token in enumerate(drafted):
        p, q = probabilities[place], proposed[place]
        if uniform[place] > p[token] / q[token]:
            rest = (p - q).clamp(min=0)
            return [*drafted[:place], int(torch.multinomial(rest / rest.sum(), 1, generator=generator))]
    return [*drafted, int(torch.multinomial(probabilities[-1], 1, generator=generator))]


def by_model(task: Task, model: PreTrainedModel) -> Drafter:
    """Drafts of a smaller model, under the same processors as the model's own tokens.

    A draft ends behind an end token, and behind one less likely than `assistant_confidence_threshold`. The processors
    that shape a drawn distribution act twice, as in transformers 5.x.
    """
    processors = task.processors(given=task.processors())
    least = task.fields.get("assistant_confidence_threshold", 0.4)

    def draft(token_ids: list[int], size: int, generator: torch.Generator) -> Draft:
        drafted: list[int] = []
        proposed: list[torch.Tensor] = []
        while len(drafted) < size and not task.ends & set(drafted[-1:]):
            row = torch.tensor([token_ids + drafted])
            with torch.inference_mode():
                scores = processors(row, model(row, use_cache=False).logits[:, -1].float())
            drafted += own_tokens(task, scores, generator)
            proposed.append(scores.softmax(-1)[0])
            if proposed[-1][drafted[-1]] < least:
                break
        return drafted, torch.stack(proposed)

    return draft


def by_lookup(task: Task) -> Drafter:
    """Drafts of what followed an earlier occurrence of the newest tokens: of the longest n-gram the first that has any
    continuation which the processors allow, up to an end token.

    Source: https://github.com/apoorvumang/prompt-lookup-decoding; as in transformers 5.x.
    """
    processors, num_tokens = task.processors(), task.fields["prompt_lookup_num_tokens"]
    longest = task.fields.get("max_matching_ngram_size", 2)

    def draft(token_ids: list[int], size: int, generator: torch.Generator) -> Draft:
        for length in range(min(longest, len(token_ids) - 1), 0, -1):
            for start in range(len(token_ids) - length):
                if token_ids[start : start + length] == token_ids[-length:]:
                    follows = token_ids[start + length :][:num_tokens]
                    allowed = allowed_beginning(task, token_ids, follows, processors)
                    if allowed:
                        is_end = [token in task.ends for token in allowed]
                        return allowed[: is_end.index(True) if True in is_end else None], None
        return [], None

    return draft


def allowed_beginning(
    task: Task, token_ids: list[int], follows: list[int], processors: LogitsProcessorList
) -> list[int]:
    """Up to the first token that the processors rule out where all tokens are equally likely."""
    for place, token in enumerate(follows):
        row = torch.tensor([token_ids + follows[:place]])
        if processors(row, torch.ones(1, task.vocab_size))[0, token] <= torch.finfo(torch.float32).min:
            return follows[:place]
    return follows
