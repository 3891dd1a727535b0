"""The command `beamhouse`, as an operator meets it."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from beamhouse.config.settings import KEYS
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.server.command import cli
from beamhouse.server.command.failures import CommandFailed

ROOT = Path(__file__).parents[3]
runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch):
    for key in (*KEYS, "config"):
        monkeypatch.delenv(f"BEAMHOUSE_{key.upper()}", raising=False)


def test_the_command_does_not_import_torch():
    code = "import sys, beamhouse.server.command.cli; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("command", ["serve", "config", "doctor"])
def test_help_lists_every_setting(command: str):
    text = runner.invoke(cli.app, [command, "--help"]).stdout
    assert [key for key in KEYS if f"--{key.replace('_', '-')}" not in text] == []


def test_the_version_of_a_bare_checkout_is_not_a_traceback(monkeypatch: pytest.MonkeyPatch):
    def find_nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", find_nothing)
    result = runner.invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stdout.strip()) == (0, "unknown")


def test_help_of_generate_lists_every_generation_field():
    text = runner.invoke(cli.app, ["generate", "--help"]).stdout
    assert [name for name in GenerationConfig.model_fields if f"--{name.replace('_', '-')}" not in text] == []


def test_config_tells_where_values_come_from(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BEAMHOUSE_MAX_ROWS", "5")
    result = runner.invoke(cli.app, ["config", "--port", "9", "--no-prefix-caching", "--json"])
    shown = json.loads(result.stdout)
    assert set(shown) == set(KEYS)
    assert shown["port"] == {"value": 9, "from": "command line"}
    assert shown["prefix_caching"] == {"value": False, "from": "command line"}
    assert shown["max_rows"] == {"value": 5, "from": "BEAMHOUSE_MAX_ROWS"}
    assert shown["revision"] == {"value": None, "from": "default"}


def test_config_prints_a_line_for_each_setting():
    lines = runner.invoke(cli.app, ["config"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["key", *KEYS]


def test_doctor_ends_with_1_when_something_would_go_wrong(tmp_path: Path):
    result = runner.invoke(cli.app, ["doctor", "--model", str(tmp_path / "none"), "--port", "0", "--json"])
    assert result.exit_code == 1
    wrong = [finding["subject"] for finding in json.loads(result.stdout) if finding["verdict"] == "problem"]
    assert wrong == ["model"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["config", "--port", "many"], "beamhouse: port is 'many' (command line): input should be a valid integer"),
        (["config", "--config", "none.toml"], "beamhouse: none.toml cannot be read"),
        (["serve", "one", "--model", "two"], "beamhouse: two models are named: one and two"),
    ],
)
def test_a_wrong_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
):
    monkeypatch.setattr(sys, "argv", ["beamhouse", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.EXIT_USAGE
    assert capsys.readouterr().err.startswith(told)


def test_an_unknown_option_is_refused():
    result = runner.invoke(cli.app, ["serve", "--prot", "1"])
    assert result.exit_code == cli.EXIT_USAGE
    assert "--prot" in result.stderr


def test_generate_answers_without_a_server():
    command = [
        sys.executable,
        "-m",
        "beamhouse.server",
        "generate",
        "Once upon a time",
        "--max-new-tokens",
        "4",
        "--num-threads",
        "1",
    ]
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["mode"] == "greedy_search"
    assert answer["sequences"][0]["num_tokens"] == 4


def test_the_openapi_document_is_told_without_a_model(tmp_path: Path):
    printed = json.loads(runner.invoke(cli.app, ["openapi"]).stdout)
    assert "/generate" in printed["paths"]
    file = tmp_path / "openapi.json"
    assert runner.invoke(cli.app, ["openapi", "--out", str(file)]).exit_code == 0
    assert json.loads(file.read_text(encoding="utf-8")) == printed
    assert isinstance(runner.invoke(cli.app, ["openapi", "--out", str(tmp_path)]).exception, CommandFailed)
