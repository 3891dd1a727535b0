"""Beam search whose hypotheses must hold given phrases."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tests.parity.plain.beams import Beam, Hypothesis, Pool, best_of, continuations, first_beams, parted, totals_of
from tests.parity.plain.task import Task

BANK_WEIGHT = 100.0
"""By which progress counts for more than what is likely."""

Choice = list[list[int]]
"""One of these phrases has to come; none is the beginning of another."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sequence is. begun: the tokens of the phrase that is under way, of `choice`."""

    waiting: tuple[Choice, ...]
    num_complete: int = 0
    choice: Choice | None = None
    begun: tuple[int, ...] = ()

    @property
    def is_complete(self) -> bool:
        return not self.waiting and self.choice is None

    def steps(self) -> dict[int, tuple[Choice, tuple[int, ...]]]:
        """The tokens that lead further, and into which phrases: on in the one that is under way, or into any other."""
        found: dict[int, tuple[Choice, tuple[int, ...]]] = {}
        for choice in self.waiting if self.choice is None else [self.choice]:
            for phrase in choice:
                if tuple(phrase[: len(self.begun)]) == self.begun:
                    found.setdefault(phrase[len(self.begun)], (choice, tuple(phrase[: len(self.begun) + 1])))
        return found

    def after(self, token: int) -> "Progress":
        """A token that breaks a phrase sends its choice to the end of those that wait, and begins no other."""
        if token not in self.steps():
            broken = () if self.choice is None else (self.choice,)
            return Progress((*self.waiting, *broken), self.num_complete)
        choice, begun = self.steps()[token]
        waiting = tuple(one for one in self.waiting if one is not choice)
        if list(begun) in choice:
            return Progress(waiting, self.num_complete + 1)
        return Progress(waiting, self.num_complete, choice, begun)


def constrained_beam_search(task: Task) -> list[Hypothesis]:
    """Beam search that also tries every token its phrases need, and in which beams of all degrees of progress live.

    What ends counts where all phrases are there; of the beams that live at the greatest length the others too, if there
    are too few. A phrase in the prompt counts. Sources: arXiv:1704.07138, with the banks of arXiv:1804.06609; as in
    transformers 4.x.
    """
    size, num_returned = task.fields["num_beams"], task.fields.get("num_return_sequences", 1)
    processors, pool, live = task.processors(), Pool(task, size), first_beams(size)
    for _ in range(task.num_new):
        totals = totals_of(task, live, processors)
        candidates = continuations(live, totals, best_of(task, totals))
        going_on, ended = parted(task, candidates, size)
        pool.add([beam for beam in ended if progress_of(task, beam.token_ids[:-1]).is_complete])
        needed = needed_by(task, live, totals, going_on[:size])
        live = in_turns(task, [*going_on[:size], *needed])[:size] if needed else going_on[:size]
        if not pool.can_improve(candidates[0]):
            return pool.hypotheses[:num_returned]
    complete = [beam for beam in live if progress_of(task, beam.token_ids).is_complete]
    pool.add(complete if len(complete) >= num_returned else live)
    return pool.hypotheses[:num_returned]


def progress_of(task: Task, token_ids: list[int]) -> Progress:
    progress = Progress(tuple(choices(task)))
    for token in task.prompt_ids + token_ids:
        progress = progress if progress.is_complete else progress.after(token)
    return progress


def choices(task: Task) -> Iterator[Choice]:
    """Of `constraints`, phrasal and disjunctive ones, and of `force_words_ids`."""
    for constraint in task.fields.get("constraints", []):
        yield constraint["nested_token_ids"] if constraint["type"] == "disjunctive" else [constraint["token_ids"]]
    for words in task.fields.get("force_words_ids", []):
        yield words if isinstance(words[0], list) else [words]


def needed_by(task: Task, live: list[Beam], totals: torch.Tensor, known: list[Beam]) -> list[Beam]:
    """The continuations that lead further in the phrases of each living beam, but for those that are known."""
    places = []
    for row, beam in enumerate(live):
        progress = progress_of(task, beam.token_ids)
        places += [] if progress.is_complete else [row * task.vocab_size + token for token in progress.steps()]
    needed: list[Beam] = []
    for beam in continuations(live, totals, torch.tensor(places, dtype=torch.int64)):
        if all(beam.token_ids != other.token_ids for other in [*known, *needed]):
            needed.append(beam)
    return needed


def bank_of(task: Task, beam: Beam) -> int:
    """A number that grows with progress: the tokens of all complete phrases and of the one that is under way."""
    longest = max(len(phrase) for choice in choices(task) for phrase in choice)
    progress = progress_of(task, beam.token_ids)
    if progress.choice is None:
        return progress.num_complete * longest
    return (progress.num_complete + 1) * longest - (max(map(len, progress.choice)) - len(progress.begun))


def in_turns(task: Task, beams: list[Beam]) -> list[Beam]:
    """The best beam of each bank, the bank of most progress first; then the second of each, and so on."""
    ranked = sorted(beams, key=lambda beam: -(BANK_WEIGHT * bank_of(task, beam) + beam.total))
    banks = [bank_of(task, beam) for beam in ranked]
    turns = [banks[:place].count(bank) for place, bank in enumerate(banks)]
    return [beam for _, beam in sorted(zip(turns, ranked, strict=True), key=lambda one: one[0])]
