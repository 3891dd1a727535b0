"""Transition scores from recorded scores: the library's `compute_transition_scores`."""

import base64
import binascii
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beamhouse.engine.link.errors import invalid
from beamhouse.engine.link.messages import TensorPiece
from beamhouse.schemas.beamhouse.scores import Base64Tensor, TransitionScoresRequest
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.answering.tensors import in_json, read_values

WORDS = frozenset({"Infinity", "-Infinity"})
CELL_KINDS = frozenset({int, float, str, type(None)})
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
Ids = NDArray[np.int64]
Scores = NDArray[np.float64]


def transition_scores(body: TransitionScoresRequest) -> list[list[float | str | None]]:
    """One row per sequence, one score per generated token; rows that ended early are filled with zeros.

    Equals `compute_transition_scores` of transformers. Raises InvalidRequest where the arguments do not fit together.
    """
    sequences = same_lengths(body.sequences, "sequences")  # (R, L)
    scores = read_scores(body.scores)  # (T, B, V): steps x rows x vocabulary
    num_steps, num_rows, _ = scores.shape
    beams = same_lengths(body.beam_indices or [[row] * num_steps for row in range(num_rows)], "beam_indices")
    num_generated = int((beams >= 0).sum(axis=1).max())
    check_shapes(sequences, beams, scores, num_generated)
    first = sequences.shape[1] - num_generated
    beams, ids = beams[:, :num_generated], sequences[:, first:]  # (R, generated) both
    check_places(beams, ids, scores, first)
    steps, sources = np.arange(num_generated), np.maximum(beams, 0)
    found = scores[steps, sources, ids]
    if body.normalize_logits:
        found = found - log_sum(scores)[steps, sources]
    said: list[list[float | str | None]] = in_json(np.where(beams < 0, 0.0, found))
    return said


def log_sum(scores: Scores) -> Scores:
    """Logarithm of the sum of exponentials; NaN where the scores hold NaN or nothing finite. (T, B)"""
    highest = scores.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        total: Scores = np.log(np.exp(scores - highest).sum(axis=-1)) + highest[..., 0]
    return total


def same_lengths(rows: list[list[int]], field: str) -> Ids:
    if len({len(row) for row in rows}) > 1:
        raise invalid(
            field, ProblemCode.WRONG_SHAPE, f"the rows of {field} differ in length; allowed: one length for all"
        )
    return np.array(rows, dtype=np.int64)


def read_scores(given: list[Any] | Base64Tensor) -> Scores:
    """Scores as steps x rows x vocabulary; null is NaN."""
    if isinstance(given, Base64Tensor):
        return read_base64(given)
    rows = [row for step in given if isinstance(step, list) for row in step]
    shapes = {(len(step), len(row)) if isinstance(row, list) else None for step in given for row in lists_in(step)}
    if len(shapes) != 1 or None in shapes or not all(map(lists_in, given)) or not rows[0]:
        raise invalid("scores", ProblemCode.WRONG_SHAPE, "scores are not a full steps x rows x vocabulary array")
    for row in rows:
        words = (cell for cell in row if isinstance(cell, str))
        if not CELL_KINDS.issuperset(map(type, row)) or any(word not in WORDS for word in words):
            raise invalid(
                "scores", ProblemCode.WRONG_TYPE, 'scores hold something else than numbers, null and "-Infinity"'
            )
    return np.array(given, dtype=np.float64)


def lists_in(step: object) -> list[Any]:
    return step if isinstance(step, list) else []


def read_base64(given: Base64Tensor) -> Scores:
    try:
        data = base64.b64decode(given.data, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("scores.data", ProblemCode.WRONG_TYPE, "scores.data is not base64") from None
    expected = math.prod(given.shape) * ITEM_BYTES[given.dtype]
    if len(data) != expected or not expected:
        message = f"scores.data holds {len(data)} bytes; the shape needs {expected}, and more than none"
        raise invalid("scores.data", ProblemCode.WRONG_SHAPE, message)
    return read_values(TensorPiece(given.dtype, given.shape, data)).astype(np.float64)


def check_shapes(sequences: Ids, beams: Ids, scores: Scores, num_generated: int) -> None:
    if len(beams) != len(sequences):
        message = f"there are {len(sequences)} sequences, but {len(beams)} rows of beam_indices or scores"
        raise invalid("sequences", ProblemCode.WRONG_SHAPE, message)
    if num_generated > len(scores):
        message = f"beam_indices cover {num_generated} steps; there are scores of {len(scores)}"
        raise invalid("beam_indices", ProblemCode.WRONG_SHAPE, message)
    if num_generated > sequences.shape[1]:
        message = f"sequences have {sequences.shape[1]} tokens; {num_generated} were generated"
        raise invalid("sequences", ProblemCode.WRONG_SHAPE, message)


def check_places(beams: Ids, ids: Ids, scores: Scores, first: int) -> None:
    """Whether there are scores of each beam and token. first: where the generated tokens begin."""
    _, num_rows, vocab_size = scores.shape
    is_wrong = (beams >= num_rows) | (ids >= vocab_size)
    if not is_wrong.any():
        return
    row, step = np.argwhere(is_wrong)[0]
    if beams[row, step] >= num_rows:
        field, column, given, limit = "beam_indices", step, beams[row, step], num_rows
    else:
        field, column, given, limit = "sequences", first + step, ids[row, step], vocab_size
    message = f"{field}[{row}][{column}] is {given}; allowed: less than {limit}"
    raise invalid(f"{field}.{row}.{column}", ProblemCode.OUT_OF_RANGE, message)
