"""The golden files as typed data."""

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
VERSIONS = ("4.45.2", "4.55.4")


@dataclass(frozen=True, slots=True)
class Answer:
    """What `generate()` of one version gave for a case, as it wrote it; lists run over the returned sequences.

    sequences: the generated tokens, filled up at the end. transition_scores: not normalised. scores: for each row of
    the first steps the largest entries, best first, as token and value. Numbers that are not finite are text.
    """

    mode: str
    sequences: list[list[int]]
    scores: list[list[list[tuple[int, float | str]]]]
    num_steps: int
    sequences_scores: list[float] | None = None
    beam_indices: list[list[int]] | None = None
    transition_scores: list[list[float | str]] | None = None


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden file. weights: the digest of every model it was made with, by the name of its folder."""

    transformers: str
    torch: str
    weights: dict[str, str]
    answers: dict[str, Answer]


def golden_file(version: str) -> Path:
    """Where the answers of a version lie."""
    return FOLDER / f"golden_{version}.json.gz"


def read_golden(path: Path) -> Golden:
    """Read a golden file."""
    content: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    answers = {name: Answer(**answer) for name, answer in content.pop("answers").items()}
    return Golden(answers=answers, **content)


@cache
def golden_of(version: str) -> Golden:
    """What a version answered."""
    return read_golden(golden_file(version))


def with_first_end(token_ids: list[int], ends: list[int]) -> list[int]:
    """As the searches of 4.x write it: whichever token ended a sequence, the first end token stands in its place."""
    return [*token_ids[:-1], ends[0]] if token_ids[-1] in ends else token_ids
