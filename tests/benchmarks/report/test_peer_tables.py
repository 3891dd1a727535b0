"""How a comparison with peers is told."""

from dataclasses import replace
from pathlib import Path

from benchmarks.report.ledger import Ledger
from benchmarks.report.peer_tables import report, speed_table
from tests.benchmarks.report.ledgers import FIGURES, RUN, ledger_of


def test_the_best_of_one_precision_is_bold_and_medians_are_shown(tmp_path: Path):
    faster = replace(RUN, side="llama.cpp", figures=replace(FIGURES, decode_per_s=250.0))
    rates = (90.0, 210.0, 220.0)
    runs = [replace(RUN, round=n, figures=replace(FIGURES, decode_per_s=rate)) for n, rate in enumerate(rates, 1)]
    quantised = replace(faster, side="llama.cpp Q8_0", figures=replace(FIGURES, decode_per_s=999.0))
    lines = speed_table(ledger_of(tmp_path, *runs, faster, quantised)).splitlines()
    rows = {line.split("|")[1].strip(): line for line in lines if "|" in line}
    assert "| 210 " in rows["beamhouse"]
    assert "| **250** " in rows["llama.cpp"]
    assert "| 999 " in rows["llama.cpp Q8_0"]


def test_sides_that_are_missing_are_told_with_their_reason(tmp_path: Path):
    ledger = ledger_of(tmp_path, RUN)
    ledger.leave_out("openvino", "is not installed")
    told = report(Ledger.read(ledger.path))
    assert "- openvino: not measured: is not installed" in told
    assert "- beamhouse: `serve`" in told
    assert "2 threads each" in told
    assert report(ledger_of(tmp_path)).startswith("Settings: 0 rounds")
