"""A ledger as a comparison with peers writes it."""

from pathlib import Path

from benchmarks.machine.limits import Limits
from benchmarks.report.figures import Figures
from benchmarks.report.ledger import Ledger, Run

FIGURES = Figures(100.0, 400.0, 200.0, 300.0, 400.0, 20.0, 40.0)
RUN = Run(1, "streams-8", "beamhouse", FIGURES, Limits(40.0, 400.0), 1234.0, 0.01, 0.0, [[1, 2]])
FACTS = {
    "model": {"dtype": "bfloat16", "weights": {"with_head": 1_000_000_000, "without_head": 500_000_000}},
    "machine": {"cpu": "a processor", "cores": 2, "memory_gib": 16},
    "versions": {"python": "3.11"},
    "commit": "abc",
    "threads": 2,
    "seed": 0,
    "sides": {
        "beamhouse": {"precision": "bf16", "command": "serve", "note": ""},
        "llama.cpp": {"precision": "bf16", "command": "llama-server", "note": "as it comes"},
        "llama.cpp Q8_0": {"precision": "q8_0", "command": "llama-server", "note": ""},
    },
}


def ledger_of(folder: Path, *runs: Run) -> Ledger:
    ledger = Ledger.opened(folder / "runs.jsonl", FACTS, is_fresh=True)
    for run in runs:
        ledger.add(run)
    return ledger
