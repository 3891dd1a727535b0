"""`beamhouse bench` against a real server: its table, its JSON, its picture."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beamhouse.server.command.bench.doors import DOORS, NATIVE
from beamhouse.server.command.bench.modes import MODES
from tests.deploy.processes import ROOT, Replica

SMALL = ("--requests", "2", "--concurrency", "2", "--prompt-tokens", "4", "--new-tokens", "3")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beamhouse.server", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def rows_of(*arguments: str) -> list[dict[str, Any]]:
    done = bench(*arguments, *SMALL, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


def test_every_mode_is_measured_and_drawn(server: Replica, tmp_path: Path):
    picture = tmp_path / "modes.svg"
    rows = rows_of(server.url, "--mode", "all", "--assistant-model", "draft", "--picture", str(picture))
    assert [row["mode"] for row in rows] == [mode.name for mode in MODES]
    assert [(row["tokens"], row["errors"]) for row in rows] == [(6, {})] * len(rows)
    assert all(row["first"]["p50_ms"] <= row["first"]["p99_ms"] for row in rows)
    drawn = picture.read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")


@pytest.mark.parametrize("door", [door.name for door in DOORS if door is not NATIVE])
def test_every_door_gives_the_tokens_of_a_mode(server: Replica, door: str):
    modes = ("--mode", "greedy_search", "--mode", "sample", "--mode", "beam_search", "--mode", "guidance")
    rows = rows_of(server.url, "--door", door, *modes)
    assert [(row["door"], row["tokens"], row["errors"]) for row in rows] == [(door, 6, {})] * 4


def test_the_table_tells_modes_of_ones_own_and_why_requests_failed(server: Replica):
    done = bench(server.url, *SMALL, "--mode", "greedy_search", "--mode", 'wrong={"generation_config": {"top_p": 2}}')
    assert done.returncode == 0, done.stderr
    heads, good, wrong, reason, *_ = done.stdout.splitlines()
    assert heads.split()[:3] == ["mode", "failed", "tokens/s"]
    assert good.split()[:2] == ["greedy_search", "0/2"]
    assert wrong.split()[:3] == ["wrong", "2/2", "0.0"]
    assert reason == "wrong: 2 failed: 422 invalid_request"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("localhost:1",), "localhost:1 is no address of a server, such as http://127.0.0.1:8000"),
        (("http://127.0.0.1:1", "--door", "back"), "there is no door back; known: native, openai-completions,"),
        (("http://127.0.0.1:1", "--mode", "fast"), "there is no mode fast; known: greedy_search,"),
        (("http://127.0.0.1:1", "--mode", "own={"), "the fields of own are not valid JSON"),
        (("http://127.0.0.1:1", "--mode", "draft_model"), "draft_model needs --assistant-model"),
        (("http://127.0.0.1:1", "--picture", "a.gif"), "a.gif is no picture: its name ends in .svg or .png"),
        (("http://127.0.0.1:1", "--seconds", "1"), "--requests and --seconds exclude each other"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_asked(arguments: tuple[str, ...], told: str):
    done = bench(*arguments, *SMALL)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"beamhouse: {told}")


def test_a_load_that_nobody_answered_is_a_failure():
    done = bench("http://127.0.0.1:1", *SMALL)
    assert done.returncode == 1
    assert "greedy_search: 2 failed: ConnectionRefusedError" in done.stdout
