"""The benchmark of a GPU runs, without one and so with one side; the figures themselves are not tested."""

import sys

import pytest

from benchmarks import gpu
from tests.parity.models import BUILTIN


def test_it_runs_on_a_cpu_with_the_way_that_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "READ_BYTES", 1 << 20)
    sizes = ["--rows", "1", "2", "--prompt-tokens", "4", "--new-tokens", "4", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["gpu", str(BUILTIN), "--device", "cpu", "--dtype", "float32", *sizes])
    gpu.main()
    table = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [[cell.strip() for cell in row[1:3]] for row in table[2:]] == [["1", "plain torch"], ["2", "plain torch"]]
    assert all(float(row[3]) > 0 and float(row[4]) > 0 for row in table[2:])
