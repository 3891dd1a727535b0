"""`beamhouse download`: a model comes into the cache with its progress told, or the reason is one line."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.terminal import terminal
from tests.deploy.processes import ROOT
from tests.server.command.hub import COMMIT, FILES, MODEL, hub


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with hub() as url:
        yield url


def environment(address: str) -> dict[str, str]:
    return {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}


def download(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beamhouse.server", "download", *arguments]
    own = os.environ | environment(address)
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)


def test_a_model_is_fetched_without_its_code_and_told_on_the_way(address: str, tmp_path: Path):
    done = download(address, MODEL, "--cache-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    directory = Path(done.stdout.strip())
    assert directory == tmp_path / "models--someone--something" / "snapshots" / COMMIT
    fetched = {file.name: file.read_bytes() for file in directory.iterdir()}
    assert fetched == {name: content for name, content in FILES.items() if name != "modeling.py"}
    lines = done.stderr.splitlines()
    assert lines[:2] == ["loading: resolve", "loading: download"]
    shares = [int(found[1]) for line in lines if (found := re.fullmatch(r"download: (\d+)%", line))]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert lines[-1] == "1 safetensors, 2.9 MiB"


def test_a_terminal_shows_a_bar(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in environment(address).items():
        monkeypatch.setenv(name, value)
    with terminal("-m", "beamhouse.server", "download", MODEL, "--cache-dir", str(tmp_path)) as shown:
        said = shown.until("1 safetensors, 2.9 MiB")
        assert "download ━" in said
        assert "100%" in said
        shown.until(COMMIT)
        assert shown.ended() == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([MODEL, "--revision", "other"], "that could be fetched from the hub"),
        (["someone/else"], "'someone/else' is neither a directory nor a model that could be fetched from the hub"),
        (["/no such"], "'/no such' is neither a directory"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(address: str, tmp_path: Path, arguments: list[str], told: str):
    done = download(address, *arguments, "--cache-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("loading: ")]
    assert line.startswith("beamhouse: ")
    assert told in line


def test_a_directory_is_looked_at(address: str, tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    assert "holds no weights in safetensors" in download(address, str(tmp_path)).stderr
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 8)
    assert download(address, "--model", str(tmp_path)).stdout == f"{tmp_path}\n"
