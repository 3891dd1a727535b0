"""Transition scores from recorded scores: the library's `compute_transition_scores`."""

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any

from beamhouse.engine.link.errors import invalid
from beamhouse.engine.link.messages import TensorPiece
from beamhouse.schemas.beamhouse.scores import Base64Tensor, TransitionScoresRequest
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.answering.tensors import in_json, nested, read_values

WORDS: dict[str | None, float] = {None: math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
CELL_KINDS = frozenset({int, float, str, type(None)})
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
Scores = list[list[list[Any]]]


def transition_scores(body: TransitionScoresRequest) -> list[list[float | str | None]]:
    """One row per sequence, one score per generated token; rows that ended early are filled with zeros.

    Equals `compute_transition_scores` of transformers. Raises InvalidRequest where the arguments do not fit together.
    """
    sequences = same_lengths(body.sequences, "sequences")
    scores = read_scores(body.scores)  # steps x rows x vocabulary
    beams = same_lengths(body.beam_indices or [[row] * len(scores) for row in range(len(scores[0]))], "beam_indices")
    num_generated = max(sum(beam >= 0 for beam in row) for row in beams)
    check_shapes(sequences, beams, scores, num_generated)
    first = len(sequences[0]) - num_generated
    return [
        [
            in_json(one_score(scores[step], beam, (row, step, first), sequence[first + step], body.normalize_logits))
            for step, beam in enumerate(beams[row][:num_generated])
        ]
        for row, sequence in enumerate(sequences)
    ]


def one_score(
    rows: list[list[Any]], beam: int, place: tuple[int, int, int], token_id: int, normalize_logits: bool
) -> float:
    """The score of one token. place: its sequence, its step, and where the generated tokens begin."""
    sequence, step, first = place
    source = max(beam, 0)
    if source >= len(rows):
        message = f"beam_indices[{sequence}][{step}] is {beam}; allowed: less than {len(rows)}"
        raise invalid(f"beam_indices.{sequence}.{step}", ProblemCode.OUT_OF_RANGE, message)
    if token_id >= len(rows[source]):
        message = f"sequences[{sequence}][{first + step}] is {token_id}; allowed: less than {len(rows[source])}"
        raise invalid(f"sequences.{sequence}.{first + step}", ProblemCode.OUT_OF_RANGE, message)
    if beam < 0:
        return 0.0
    score = number(rows[source][token_id])
    return score - log_sum([number(cell) for cell in rows[source]]) if normalize_logits else score


def log_sum(scores: Sequence[float]) -> float:
    """Logarithm of the sum of exponentials; NaN where the scores hold NaN or nothing finite."""
    highest = max(scores)
    if not math.isfinite(highest) or any(math.isnan(score) for score in scores):
        return math.nan
    return highest + math.log(math.fsum(math.exp(score - highest) for score in scores))


def number(cell: Any) -> float:
    return WORDS[cell] if cell is None or isinstance(cell, str) else float(cell)


def same_lengths(rows: list[list[int]], field: str) -> list[list[int]]:
    if len({len(row) for row in rows}) > 1:
        raise invalid(
            field, ProblemCode.WRONG_SHAPE, f"the rows of {field} differ in length; allowed: one length for all"
        )
    return rows


def read_scores(given: list[Any] | Base64Tensor) -> Scores:
    """Scores as steps x rows x vocabulary, every cell a number or a word for one."""
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
    return given


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
    cells: list[float | str | None] = [
        in_json(value) for value in read_values(TensorPiece(given.dtype, given.shape, data))
    ]
    scores: Scores = nested(cells, given.shape)
    return scores


def check_shapes(sequences: list[list[int]], beams: list[list[int]], scores: Scores, num_generated: int) -> None:
    if len(beams) != len(sequences):
        message = f"there are {len(sequences)} sequences, but {len(beams)} rows of beam_indices or scores"
        raise invalid("sequences", ProblemCode.WRONG_SHAPE, message)
    if num_generated > len(scores):
        message = f"beam_indices cover {num_generated} steps; there are scores of {len(scores)}"
        raise invalid("beam_indices", ProblemCode.WRONG_SHAPE, message)
    if num_generated > len(sequences[0]):
        message = f"sequences have {len(sequences[0])} tokens; {num_generated} were generated"
        raise invalid("sequences", ProblemCode.WRONG_SHAPE, message)
