"""Which part of the machine's limits a side reached: bytes of weights read and operations done a second."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.report.ledger import Run

BYTES = {"bf16": 2.0, "f32": 4.0, "int8": 1.0, "int4": 0.5625, "q8_0": 34 / 32}
"""Of a weight; q8_0 keeps a scale of two bytes for 32 weights."""


def bandwidth_share(runs: Sequence[Run], facts: dict[str, Any], num_streams: int) -> float | None:
    """Per cent of the read bandwidth; each step reads all weights once and gives a token to each stream."""
    shares = []
    for run in runs:
        num_bytes = facts["model"]["weights"]["with_head"] * BYTES[facts["sides"][run.side]["precision"]]
        if run.figures.decode_per_s is not None:
            shares.append(run.figures.decode_per_s / num_streams * num_bytes / (run.limits.read_gb_s * 1e9))
    return 100 * median(shares) if shares else None


def compute_share(runs: Sequence[Run], facts: dict[str, Any], rate: str) -> float | None:
    """Per cent of the peak of matrix products; `prompt_per_s` leaves the head out, which only the last token meets."""
    weights = facts["model"]["weights"]["without_head" if rate == "prompt_per_s" else "with_head"]
    rates = [(getattr(run.figures, rate), run.limits.gemm_gflop_s) for run in runs]
    shares: list[float] = [2 * weights * value / (peak * 1e9) for value, peak in rates if value is not None]
    return 100 * median(shares) if shares else None
