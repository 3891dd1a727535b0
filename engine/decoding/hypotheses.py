"""Hypotheses of a beam search that have ended, and how each came about."""

from bisect import insort
from dataclasses import dataclass, field

import numpy as np

from engine.messages import FinishReason, Ranking, TopToken
from schemas.generation import GenerationConfig

UNREACHABLE = np.float32(-1e9)
"""Total of a beam that nothing reached yet, as in the library."""


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
    """A sequence that ended. token_ids: the generated ones. score: its total divided by the length penalty."""

    token_ids: list[int]
    score: np.float32
    path: Path
    reason: FinishReason


@dataclass(slots=True)
class Pool:
    """The best hypotheses that have ended, at most `size`, best first; among equal ones the earlier."""

    size: int
    length_penalty: float
    early_stopping: bool | str
    max_new: int
    hypotheses: list[Hypothesis] = field(default_factory=list)

    @classmethod
    def of(cls, config: GenerationConfig, size: int, num_prompt: int) -> "Pool":
        length_penalty = 1.0 if config.length_penalty is None else config.length_penalty
        return cls(size, length_penalty, config.early_stopping or False, (config.max_length or 0) - num_prompt)

    @property
    def is_full(self) -> bool:
        return len(self.hypotheses) >= self.size

    def score(self, total: np.float32, length: int) -> np.float32:
        """A total of log-probabilities over `length` generated tokens, the end token included, as the search ranks."""
        return np.float32(total / np.float32(length**self.length_penalty))

    def add(self, total: np.float32, token_ids: list[int], path: Path, reason: FinishReason) -> None:
        """Take a hypothesis in if it is among the best."""
        hypothesis = Hypothesis(token_ids, self.score(total, len(token_ids)), path, reason)
        insort(self.hypotheses, hypothesis, key=lambda one: -one.score)
        del self.hypotheses[self.size :]

    def empty_ranking(self) -> Ranking:
        """Of a sequence for which no hypothesis is left."""
        return Ranking(float(UNREACHABLE))

    def can_improve(self, best_total: np.float32, length: int) -> bool:
        """Whether a live beam of this total and length may still come in, by the rule `early_stopping` names.

        False guesses that scores do not rise with length, "never" allows for the longest sequence there may be.
        """
        if not self.is_full:
            return True
        if self.early_stopping is True:
            return False
        is_patient = self.early_stopping == "never" and self.length_penalty > 0
        return bool(self.score(best_total, self.max_new if is_patient else length) > self.hypotheses[-1].score)
