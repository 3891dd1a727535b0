"""What was measured is kept, and never mixed with what does not compare."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.report.ledger import Ledger, OtherSettings
from tests.benchmarks.report.ledgers import FACTS, RUN, ledger_of


def test_what_was_measured_is_there_again_after_a_cut(tmp_path: Path):
    ledger_of(tmp_path, RUN, replace(RUN, round=2))
    again = Ledger.opened(tmp_path / "runs.jsonl", FACTS, is_fresh=False)
    assert again.runs == [RUN, replace(RUN, round=2)]
    assert again.has(2, "streams-8", "beamhouse")
    assert not again.has(3, "streams-8", "beamhouse")
    assert not again.has(1, "streams-8", "llama.cpp")


def test_runs_of_other_settings_are_never_mixed(tmp_path: Path):
    ledger_of(tmp_path, RUN)
    with pytest.raises(OtherSettings, match="another commit and threads"):
        Ledger.opened(tmp_path / "runs.jsonl", FACTS | {"commit": "def", "threads": 1}, is_fresh=False)
    changed = {"beamhouse": {"precision": "bf16", "command": "serve --fast", "note": ""}}
    with pytest.raises(OtherSettings, match="another beamhouse"):
        Ledger.opened(tmp_path / "runs.jsonl", FACTS | {"sides": changed}, is_fresh=False)
    assert Ledger.opened(tmp_path / "runs.jsonl", FACTS | {"seed": 9}, is_fresh=True).runs == []


def test_a_side_may_join_later(tmp_path: Path):
    ledger_of(tmp_path, RUN)
    late = {"generate()": {"precision": "bf16", "command": "python", "note": ""}}
    assert Ledger.opened(tmp_path / "runs.jsonl", FACTS | {"sides": late}, is_fresh=False).runs == [RUN]
    assert set(Ledger.read(tmp_path / "runs.jsonl").facts["sides"]) == {*FACTS["sides"], *late}
