"""Hypotheses of a beam search that have ended, and how each came about."""

from bisect import insort_left
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from beamhouse.engine.link.messages import FinishReason, Ranking, TopToken
from beamhouse.schemas.generation.resolved import Resolved

Floats = npt.NDArray[np.float32]

UNREACHABLE = np.float32(-1e9)
"""Total of a beam that nothing reached yet, as in the library; also what a beam that has ended is put back by."""

IMPOSSIBLE = np.float32(-1e30)
"""Totals below hold a token that is ruled out: by -inf, or by the lowest number where that stands for it."""


@dataclass(frozen=True, slots=True)
class Path:
    """One token of a hypothesis and those before it. beam_index: the row it was chosen from.

    scores, top_tokens: of this token, as a list of one, where asked for. Beams share the paths of their beginnings.
    """

    before: "Path | None"
    beam_index: int
    scores: list[float | None]
    top_tokens: list[list[TopToken]]

    def ranking(self, score: float) -> Ranking:
        """Everything the path tells of its hypothesis, in the order of its tokens."""
        newest_first: list[Path] = []
        path: Path | None = self
        while path is not None:
            newest_first.append(path)
            path = path.before
        steps = newest_first[::-1]
        return Ranking(
            score,
            [step.beam_index for step in steps],
            [score for step in steps for score in step.scores],
            [tops for step in steps for tops in step.top_tokens],
        )


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A sequence that ended. token_ids: the generated ones. score: its total divided by the length penalty.

    reason: None for one that did not end and fills a place that nothing better took. path: None for an empty one.
    """

    token_ids: list[int]
    score: np.float32
    path: Path | None
    reason: FinishReason | None

    def ranking(self) -> Ranking:
        """What an answer tells of it beside its tokens."""
        score = float(self.score)
        return Ranking(score) if self.path is None else self.path.ranking(score)


EMPTY = Hypothesis([], UNREACHABLE, None, None)
"""What stands in the place of a hypothesis where too few were found."""


@dataclass(slots=True)
class Pool:
    """The best hypotheses of a search, best first. size: most that have ended. max_new: most tokens of a hypothesis."""

    size: int
    length_penalty: float
    early_stopping: bool | str
    max_new: int
    hypotheses: list[Hypothesis] = field(default_factory=list)

    @classmethod
    def of(cls, config: Resolved, size: int, num_prompt: int) -> "Pool":
        return cls(size, config.length_penalty, config.early_stopping, config.max_length - num_prompt)

    @property
    def num_ended(self) -> int:
        return sum(hypothesis.reason is not None for hypothesis in self.hypotheses)

    @property
    def is_full(self) -> bool:
        return self.num_ended >= self.size

    def score(self, total: np.float32, length: int) -> np.float32:
        """A total of log-probabilities over `length` generated tokens, the end token included, as the search ranks."""
        score: np.float32 = self.scores(np.array([total]), length)[0]
        return score

    def scores(self, totals: Floats, length: int) -> Floats:
        """The scores of several of one length."""
        with np.errstate(over="ignore"):  # of totals that are impossible
            return totals / np.float32(length**self.length_penalty)

    def add(self, total: np.float32, token_ids: list[int], path: Path, reason: FinishReason) -> None:
        """Take a hypothesis in if it is among the best; none that holds a token that is ruled out.

        Among equal ones the later is the better, but it takes no place from an earlier one: as in transformers 4.x.
        """
        hypothesis = Hypothesis(token_ids, self.score(total, len(token_ids)), path, reason)
        if total < IMPOSSIBLE or (self.is_full and hypothesis.score <= self.hypotheses[-1].score):
            return
        insort_left(self.hypotheses, hypothesis, key=lambda one: -one.score)
        del self.hypotheses[self.size :]

    def merge(self, scores: Floats, make: Callable[[int], Hypothesis]) -> None:
        """Let newcomers compete for the `size` places, as transformers 5.x does.

        scores: of all newcomers. make: the newcomer of a number. Where equals compete torch decides, who is asked what
        the library asks.
        """
        known = self.hypotheses
        places = largest_of(np.concatenate([np.array([one.score for one in known], np.float32), scores]), self.size)
        self.hypotheses = [known[place] if place < len(known) else make(place - len(known)) for place in places]

    def can_improve(self, best_total: np.float32, length: int) -> bool:
        """Whether a live beam of this total and length may still come in, by the rule `early_stopping` names.

        False guesses that scores do not rise with length, "never" allows for the longest sequence there may be. While
        there are places left anything that may be reached may come in.
        """
        if self.is_full and self.early_stopping is True:
            return False
        is_patient = self.early_stopping == "never" and self.length_penalty > 0
        worst = self.hypotheses[-1].score if self.is_full else UNREACHABLE
        return bool(self.score(best_total, self.max_new if is_patient else length) > worst)


def largest_of(values: Floats, count: int) -> list[int]:
    """The places of the largest values, best first; among equal ones in the order of torch's `topk` on a CPU."""
    places: list[int] = torch.from_numpy(values).topk(count).indices.tolist()
    return places
