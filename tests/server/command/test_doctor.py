"""`beamhouse doctor`: what it finds on a machine, and that it finds it before it hurts."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from beamhouse.config.settings import Settings
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.loading.files import UNREAD_WEIGHTS, find_model
from beamhouse.engine.native import mirrored
from beamhouse.engine.native.compiler import NoKernels
from beamhouse.server.command import doctor
from beamhouse.server.command.doctor import Finding, Outlook, examine


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text("{}", encoding="utf-8")
    (directory / "model.safetensors").write_bytes(b"\0" * 64)
    (directory / "tokenizer.json").write_text("{}", encoding="utf-8")
    return directory


def findings(directory: Path, /, **parts: Any) -> dict[str, Finding]:
    settings = Settings(**({"model": {"model": str(directory)}, "server": {"port": 0}} | parts))
    return {finding.subject: finding for finding in examine(settings)}


def test_a_good_machine_has_no_problem(model: Path):
    found = findings(model)
    assert [finding for finding in found.values() if finding.verdict is Outlook.PROBLEM] == []
    assert found["model"].text == f"{model}: 1 safetensors, 0.0 MiB"
    assert found["torch"].verdict is Outlook.OK


def test_a_taken_port_is_a_problem(model: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = findings(model, server={"port": taken.getsockname()[1]})
    assert found["port"].verdict is Outlook.PROBLEM
    assert "in use" in found["port"].text


@pytest.mark.parametrize("pattern", UNREAD_WEIGHTS)
def test_weights_that_can_run_code_are_a_problem_before_a_start_and_at_it(model: Path, pattern: str):
    name = pattern.replace("*", "weights")
    (model / "model.safetensors").rename(model / name)
    found = findings(model)["model"]
    assert found.verdict is Outlook.PROBLEM
    assert f"{name} could run code" in found.text
    with pytest.raises(ModelUnsupported, match=f"{name} is not read"):
        find_model(Settings(model={"model": str(model)}).model, lambda stage, share: None)


def test_a_directory_without_a_model_is_a_problem(tmp_path: Path):
    found = findings(tmp_path)["model"]
    assert (found.verdict, found.text) == (Outlook.PROBLEM, f"{tmp_path} has no readable config.json")


def test_a_path_that_is_not_there_is_a_problem(tmp_path: Path):
    assert findings(tmp_path / "none")["model"].verdict is Outlook.PROBLEM


def test_a_hub_model_that_is_not_here_is_a_problem_without_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    parts = {"model": {"model": "someone/something", "cache_dir": str(tmp_path)}}
    monkeypatch.setattr(doctor.constants, "HF_HUB_OFFLINE", False)
    assert findings(tmp_path, **parts)["model"].verdict is Outlook.NOTE
    monkeypatch.setattr(doctor.constants, "HF_HUB_OFFLINE", True)
    assert findings(tmp_path, **parts)["model"].verdict is Outlook.PROBLEM


def test_more_threads_than_cores_are_a_problem(model: Path):
    assert findings(model, engine={"num_threads": 1024})["threads"].verdict is Outlook.PROBLEM


def test_the_kernels_are_compiled_and_named(model: Path):
    kernels = findings(model)["kernels"]
    assert kernels.verdict is Outlook.OK
    assert Path(kernels.text.split(", in ")[1]).is_file()


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ({}, Outlook.NOTE),
        ({"engine": {"kernels": "native"}}, Outlook.PROBLEM),
        ({"engine": {"kernels": "torch"}}, Outlook.NOTE),
    ],
)
def test_missing_kernels_count_as_much_as_they_were_asked_for(
    model: Path, monkeypatch: pytest.MonkeyPatch, parts: dict[str, Any], verdict: Outlook
):
    def missing(directory: Path | None) -> None:
        raise NoKernels("no C++ compiler is installed")

    monkeypatch.setattr(doctor, "kernels_file", missing)
    assert findings(model, **parts)["kernels"].verdict is verdict


def test_kernels_of_another_layout_are_told_with_the_reason(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mirrored, "PANEL", 32)
    kernels = findings(model)["kernels"]
    assert kernels.verdict is Outlook.NOTE
    assert kernels.text.endswith("kPanel is 64 in the library and 32 in Python")


def test_a_cache_bigger_than_the_memory_is_a_problem(model: Path):
    assert findings(model, engine={"cache_gib": 65_536})["memory"].verdict is Outlook.PROBLEM


@pytest.mark.parametrize(("key", "kind"), [("tries", "trie"), ("watermarks", "watermark")])
def test_a_missing_file_is_a_problem(model: Path, tmp_path: Path, key: str, kind: str):
    file = tmp_path / "cities.json"
    parts = {"model": {"model": str(model), key: {"cities": str(file)}}}
    assert findings(model, **parts)[f"{kind} cities"].verdict is Outlook.PROBLEM
    file.write_text(json.dumps([[1, 2]]), encoding="utf-8")
    assert findings(model, **parts)[f"{kind} cities"].verdict is Outlook.OK


def test_a_gpu_that_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path):
    monkeypatch.setattr(doctor, "NVIDIA_DRIVER", tmp_path / "none")
    parts = {"model": {"model": str(model), "device": "cuda:0"}}
    assert findings(model, **parts)["device"].verdict is Outlook.PROBLEM


def test_what_kubernetes_injects_is_told(monkeypatch: pytest.MonkeyPatch, model: Path):
    monkeypatch.setenv("BEAMHOUSE_PORT", "tcp://10.0.0.1:80")
    assert "BEAMHOUSE_PORT is not a setting" in findings(model)["environment"].text
