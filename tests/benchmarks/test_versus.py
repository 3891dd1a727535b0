"""How a comparison with peers is kept, told and published; the figures themselves are not tested."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from beamhouse.engine.loading.files import BUILTIN_FILES
from benchmarks.cases.loads import LOADS
from benchmarks.machine.limits import Limits, best_of
from benchmarks.peers.build import BUILDERS, FAILED, Site, build
from benchmarks.peers.catalog import SIDES, Choice, NotInstalled, installed, num_weights
from benchmarks.peers.formats import Model
from benchmarks.publish import NoMarks, between_marks, draw
from benchmarks.report.figures import Figures
from benchmarks.report.ledger import Ledger, OtherSettings, Run
from benchmarks.report.peer_tables import report, speed_table
from benchmarks.report.shares import bandwidth_share, compute_share
from benchmarks.serving.processes import NotStarted, family, started
from benchmarks.versus import prepared, read_options

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


def test_shares_of_the_limits_are_per_cent_of_the_same_minute():
    assert bandwidth_share([RUN], FACTS, 8) == pytest.approx(100 * 200 / 8 * 2.0 / 40.0)
    assert compute_share([RUN], FACTS, "decode_per_s") == pytest.approx(100 * 2 * 200 / 400)
    assert compute_share([RUN], FACTS, "prompt_per_s") == pytest.approx(100 * 2 * 0.5 * 400 / 400)
    unknown = replace(RUN, figures=replace(FIGURES, decode_per_s=None))
    assert bandwidth_share([unknown], FACTS, 8) is None is compute_share([unknown], FACTS, "decode_per_s")


def test_tables_replace_what_stands_between_the_marks():
    page = "before\n<!-- a begins -->\nold\n<!-- a ends -->\nafter\n<!-- b begins --><!-- b ends -->\n"
    new = between_marks(page, "a", "new")
    assert new.startswith("before\n<!-- a begins -->\n\nnew\n\n<!-- a ends -->\nafter\n")
    assert new.endswith("<!-- b begins --><!-- b ends -->\n")
    assert between_marks(new, "a", "new") == new


@pytest.mark.parametrize(
    "page",
    ["", "<!-- a begins -->", "<!-- a ends --><!-- a begins -->", "<!-- a begins --><!-- a ends -->" * 2],
)
def test_a_page_without_its_marks_is_left_alone(page: str):
    with pytest.raises(NoMarks):
        between_marks(page, "a", "new")


def test_the_picture_is_drawn_of_whatever_was_measured(tmp_path: Path):
    draw(ledger_of(tmp_path, RUN, replace(RUN, side="llama.cpp", load="prefill")), tmp_path / "picture.svg")
    picture = (tmp_path / "picture.svg").read_text()
    assert "</svg>" in picture
    assert "tokens per second" in picture


def test_a_peer_that_is_missing_or_broken_says_why(tmp_path: Path):
    with pytest.raises(NotInstalled, match="make peers"):
        installed(tmp_path, "openvino", "venv/bin/python")
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / FAILED).write_text("no compiler\n")
    with pytest.raises(NotInstalled, match="no compiler"):
        installed(tmp_path, "openvino", "venv/bin/python")
    choice = Choice(Model(BUILTIN_FILES, tmp_path / "models", tmp_path), tmp_path, 1, {})
    sides, left_out = prepared(list(SIDES), choice)
    assert {side.name for side in sides} == {"beamhouse", "beamhouse int8", "beamhouse int4", "generate()"}
    assert left_out.keys() == {"llama.cpp", "openvino", "transformers-serve", "llama.cpp-q8_0"}


def test_a_build_that_fails_leaves_its_reason_and_one_that_succeeds_takes_it_away(tmp_path: Path, monkeypatch):
    def fails(site: Site) -> None:
        site.call(sys.executable, "-c", "import sys; sys.exit('out of paper')")

    site = Site(tmp_path / "peer", 1)
    monkeypatch.setitem(BUILDERS, "peer", fails)
    assert "out of paper" in (build("peer", site) or "")
    assert "out of paper" in (tmp_path / "peer" / FAILED).read_text()
    monkeypatch.setitem(BUILDERS, "peer", lambda site: None)
    assert build("peer", site) is None
    assert not (tmp_path / "peer" / FAILED).exists()


def test_weights_of_the_generated_model_are_those_that_a_step_reads():
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim")
    shape = dict(zip(names, (896, 4864, 14, 2, 64), strict=True)) | {"num_hidden_layers": 24, "vocab_size": 32000}
    assert num_weights(shape) == 386_498_560
    assert num_weights(shape) - num_weights(shape, with_head=False) == 896 * 32000


def test_everything_is_compared_unless_some_are_chosen():
    assert read_options([]).sides == list(SIDES)
    assert read_options([]).loads == [load.name for load in LOADS]
    assert read_options(["--set", "num_threads=1", "quantize=int8"]).set == {"num_threads": "1", "quantize": "int8"}
    assert read_options([]).peers.is_absolute()


@pytest.mark.parametrize("wrong", [["--sides", "unheard"], ["--loads", "x"], ["--rounds", "0"], ["--set", "a"]])
def test_wrong_options_are_refused(wrong: list[str], capsys):
    with pytest.raises(SystemExit):
        read_options(wrong)
    assert "error" in capsys.readouterr().err


def test_a_server_that_ends_at_once_says_its_last_line(tmp_path: Path):
    command = [sys.executable, "-c", "import sys; sys.exit('\u2502 no such model \u2502\\n\u2570\u2500\u256f')"]
    with pytest.raises(NotStarted, match="status 1: no such model"), started(command, {}, "/", 30, tmp_path / "log"):
        pass


def test_a_family_is_a_process_with_its_descendants():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in family(os.getpid())
        assert family(child.pid) == [child.pid]


def test_the_shortest_time_counts():
    calls: list[int] = []
    assert 0 <= best_of(3, lambda: calls.append(1)) < 1
    assert len(calls) == 4


@pytest.mark.parametrize("name", ["llama", "builtin"])
def test_the_page_on_performance_has_a_place_for_each_model(name: str):
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert between_marks(page, name, "tables") != page
