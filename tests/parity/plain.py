"""Contrastive search and DoLa written out plainly: one prompt, no cache, every step the whole sequence.

The installed library has neither mode. What older ones answer lies in the golden files; this covers more.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LogitsProcessorList

from tests.parity.allowing import Allowed
from tests.parity.models import reference
from tests.parity.running import library_config


@dataclass(slots=True)
class Found:
    """A sequence's new tokens, and the rows of logits and scores each was chosen from, (V,)."""

    token_ids: list[int] = field(default_factory=list)
    logits: list[torch.Tensor] = field(default_factory=list)
    scores: list[torch.Tensor] = field(default_factory=list)


@dataclass(slots=True)
class Task:
    """What is asked. negative: the ids guidance leads away from. allowed: `prefix_allowed_tokens_fn`."""

    family: str
    prompt_ids: list[int]
    fields: dict[str, Any]
    num_new: int
    negative: list[int] | None = None
    allowed: Allowed | None = None

    @property
    def ends(self) -> set[int]:
        ends = self.fields.get("eos_token_id", reference(self.family).generation_config.eos_token_id)
        return {ends} if isinstance(ends, int) else set(ends)

    def look(self, rows: list[list[int]]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """The last logits of rows of equal length, (R, V), and the hidden states of all layers, (R, L, d)."""
        with torch.inference_mode():
            out = reference(self.family)(torch.tensor(rows), output_hidden_states=True, use_cache=False)
        return out.logits[:, -1].float(), out.hidden_states

    def processed(self, token_ids: list[int], logits: torch.Tensor, processors: LogitsProcessorList) -> torch.Tensor:
        """The scores of one row, (V,)."""
        scale = self.fields.get("guidance_scale")
        if scale is not None:
            negative = (self.negative or self.prompt_ids[-1:]) + token_ids[len(self.prompt_ids) :]
            away = self.look([negative])[0][0].log_softmax(-1)
            logits = scale * (logits.log_softmax(-1) - away) + away
        scores: torch.Tensor = processors(torch.tensor([token_ids]), logits[None].clone())[0]
        return scores

    def processors(self) -> LogitsProcessorList:
        """The library's own, but for guidance, with a memory of their own."""
        found: list[LogitsProcessorList] = []

        def keep(
            model: Any, input_ids: torch.Tensor, logits_processor: LogitsProcessorList, **rest: Any
        ) -> torch.Tensor:
            found.append(logits_processor)
            return input_ids

        left_out = {"penalty_alpha", "dola_layers", "guidance_scale", "num_return_sequences"}
        known = {name: value for name, value in self.fields.items() if name not in left_out}
        if not known.get("do_sample"):
            known.pop("top_k", None)
        reference(self.family).generate(
            torch.tensor([self.prompt_ids]),
            generation_config=library_config(known | {"max_new_tokens": self.num_new}),
            prefix_allowed_tokens_fn=self.allowed,
            custom_generate=keep,
        )
        return found[0]


def contrastive(task: Task) -> Found:
    """Of the `top_k` likeliest tokens that are not ruled out the one of the best (1 - alpha) p - alpha s.

    Where every token is ruled out there is one row of scores more than there are tokens.
    """
    alpha, found, token_ids = task.fields["penalty_alpha"], Found(), list(task.prompt_ids)
    processors = task.processors()
    while len(found.token_ids) < task.num_new and not task.ends & set(found.token_ids[-1:]):
        logits, hidden = task.look([token_ids])
        scores = task.processed(token_ids, logits[0], processors)
        is_allowed = scores > torch.finfo(torch.float32).min
        num_candidates = min(task.fields.get("top_k", 50), int(is_allowed.sum()))
        if num_candidates == 0:
            found.scores.append(scores.where(is_allowed, -torch.inf))
            break
        probabilities, candidates = scores.softmax(-1).where(is_allowed, -1.0).topk(num_candidates)
        ahead = task.look([[*token_ids, token] for token in candidates.tolist()])[1][-1][:, -1]
        similar = torch.cosine_similarity(ahead[:, None], hidden[-1][0][None], dim=-1).amax(-1)
        best = int(((1 - alpha) * probabilities - alpha * similar).argmax())
        found.token_ids.append(int(candidates[best]))
        found.logits.append(logits[0])
        found.scores.append(scores)
        token_ids.append(found.token_ids[-1])
    return found


def dola(task: Task, layers: list[int], seed: int = 0) -> list[Found]:
    """The last layer less the one of `layers` that differs most; greedy, or drawn for each sequence in turn."""
    generator = torch.Generator().manual_seed(seed)
    all_found = [Found() for _ in range(task.fields.get("num_return_sequences", 1))]
    processors = [task.processors() for _ in all_found]
    for _ in range(task.num_new):
        vocab_size = reference(task.family).config.vocab_size
        race = torch.empty(len(all_found), vocab_size).exponential_(generator=generator)
        for found, ticket, own in zip(all_found, race, processors, strict=True):
            if task.ends & set(found.token_ids[-1:]):
                continue
            token_ids = task.prompt_ids + found.token_ids
            logits, hidden = task.look([token_ids])
            scores = task.processed(
                token_ids, _contrast(task, logits[0], [hidden[layer][0, -1] for layer in layers]), own
            )
            picked = (scores.softmax(-1) / ticket).argmax() if task.fields.get("do_sample") else scores.argmax()
            found.token_ids.append(int(picked))
            found.logits.append(logits[0])
            found.scores.append(scores)
    return all_found


def _contrast(task: Task, logits: torch.Tensor, states: list[torch.Tensor]) -> torch.Tensor:
    """Log p of the last layer less log p of the early layer with the largest divergence, over the likely tokens."""
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
