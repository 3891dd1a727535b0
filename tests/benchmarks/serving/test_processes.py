"""A server as a process with its children."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving.processes import NotStarted, family, started


def test_a_server_that_ends_at_once_says_its_last_line(tmp_path: Path):
    command = [sys.executable, "-c", "import sys; sys.exit('\u2502 no such model \u2502\\n\u2570\u2500\u256f')"]
    with pytest.raises(NotStarted, match="status 1: no such model"), started(command, {}, "/", 30, tmp_path / "log"):
        pass


def test_a_family_is_a_process_with_its_descendants():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in family(os.getpid())
        assert family(child.pid) == [child.pid]
