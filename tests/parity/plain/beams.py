"""Beam search, and drawn beams."""

from dataclasses import dataclass, field

import torch
from transformers import LogitsProcessorList

from tests.parity.plain.task import Task

UNREACHED = -1e9
RULED_OUT = -1e30
"""Totals below hold a token that the processors rule out."""


@dataclass(frozen=True, slots=True)
class Beam:
    """A continuation of the prompt. total: the log-probabilities of its tokens added up. rows: whose child each was."""

    token_ids: list[int]
    total: float
    rows: list[int]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A beam that has ended. score: its total over a power of its length."""

    token_ids: list[int]
    score: float
    beam_indices: list[int]


@dataclass(slots=True)
class Pool:
    """The best beams that have ended, best first, at most `size`. Equal scores are left to chance."""

    task: Task
    size: int
    hypotheses: list[Hypothesis] = field(default_factory=list)

    def score(self, total: float, length: int) -> float:
        """A `length_penalty` above 0 favours long ones, as totals are negative. Source: arXiv:1609.08144, section 7."""
        return float(total / length ** self.task.fields.get("length_penalty", 1.0))

    def add(self, ended: list[Beam]) -> None:
        new = [
            Hypothesis(beam.token_ids, self.score(beam.total, len(beam.token_ids)), beam.rows)
            for beam in ended
            if beam.total > RULED_OUT
        ]
        self.hypotheses = best_first([*self.hypotheses, *new])[: self.size]

    def can_improve(self, best: Beam) -> bool:
        """Whether the best living beam, or what comes of it, may still belong to the best.

        By `early_stopping`: True says never, False judges it as if it ended now, "never" as if it went on for as long
        as it may without another token costing anything.
        """
        if len(self.hypotheses) < self.size:
            return True
        rule, length = self.task.fields.get("early_stopping", False), len(best.token_ids)
        if rule is True:
            return False
        if rule == "never" and self.task.fields.get("length_penalty", 1.0) > 0:
            length = self.task.num_new
        return self.score(best.total, length) > self.hypotheses[-1].score


def beam_search(task: Task, seed: int = 0) -> list[Hypothesis]:
    """Of all continuations of the living beams by one token the best `num_beams` that do not end live on. Of the best
    `num_beams` of all those that end go to the pool; at the greatest length all end.

    With `do_sample` continuations are drawn without replacement, and the first drawn stand for the best in the pool.
    Source: arXiv:1409.3215, section 3.2; pool, stopping and draws as in transformers 5.x.
    """
    size, generator = task.fields["num_beams"], torch.Generator().manual_seed(seed)
    processors, pool, live = task.processors(), Pool(task, size), first_beams(size)
    for length in range(1, task.num_new + 1):
        totals = totals_of(task, live, processors)
        places = best_of(task, totals)
        if task.fields.get("do_sample"):
            places = torch.multinomial(totals.flatten().softmax(-1), len(places), generator=generator)
        going_on, ended = parted(task, continuations(live, totals, places), size, is_last=length == task.num_new)
        pool.add(ended)
        live = sorted(going_on, key=lambda beam: -beam.total)[:size]
        if not live or not pool.can_improve(live[0]):
            break
    return pool.hypotheses[: task.fields.get("num_return_sequences", 1)]


def first_beams(size: int) -> list[Beam]:
    """All are the prompt, so that one is enough to continue; the others are there to make the rows complete."""
    return [Beam([], 0.0 if row == 0 else UNREACHED, []) for row in range(size)]


def totals_of(
    task: Task, live: list[Beam], processors: LogitsProcessorList, penalty: torch.Tensor | None = None
) -> torch.Tensor:
    """The total of each living beam with each token behind it. (K, V)"""
    rows = [task.prompt_ids + beam.token_ids for beam in live]
    log_probabilities = task.look(rows)[0][:, -1].log_softmax(-1)
    scores = task.processed(rows, log_probabilities, processors, penalty)
    return scores + torch.tensor([beam.total for beam in live])[:, None]


def best_of(task: Task, totals: torch.Tensor) -> torch.Tensor:
    """The places of the best continuations in the flattened (K, V): enough for K that do not end."""
    return totals.flatten().topk(len(totals) * max(2, 1 + len(task.ends))).indices


def continuations(live: list[Beam], totals: torch.Tensor, places: torch.Tensor, first_row: int = 0) -> list[Beam]:
    """The beams at places in the flattened (K, V) totals. first_row: the number of the first living beam."""
    found = []
    for place in places.tolist():
        row, token = divmod(place, totals.shape[1])
        parent = live[row]
        found.append(Beam([*parent.token_ids, token], float(totals[row, token]), [*parent.rows, first_row + row]))
    return found


def parted(task: Task, candidates: list[Beam], size: int, *, is_last: bool = False) -> tuple[list[Beam], list[Beam]]:
    """Those that may go on, and those that end. What ends behind the first `size` is passed over."""
    has_ended = [is_last or beam.token_ids[-1] in task.ends for beam in candidates]
    going_on = [beam for beam, ended in zip(candidates, has_ended, strict=True) if not ended]
    return going_on, [beam for beam, ended in zip(candidates[:size], has_ended[:size], strict=True) if ended]


def best_first(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    return sorted(hypotheses, key=lambda one: -one.score)
