"""The commands of the README, run as they stand there: they answer what is printed below them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.processes import LONG_S, ROOT, Replica

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n# (.+)\n(curl [^`]+)```\n\n```\w*\n([^`]+)```", README)
PROGRAMS = re.findall(r"```python\n# (.+?)\n(.+?)\n# → (.+?)\n```", README, flags=re.DOTALL)


def test_all_are_found() -> None:
    assert len(EXAMPLES) == README.count("\ncurl ") == 8
    assert len(PROGRAMS) == README.count("```python") == 6


def assert_holds(actual: Any, printed: Any, where: str) -> None:
    """Everything printed is in the answer; what changes from run to run is not printed."""
    if isinstance(printed, dict):
        for key, value in printed.items():
            assert key in actual, f"{where}.{key}"
            assert_holds(actual[key], value, f"{where}.{key}")
    elif isinstance(printed, list):
        assert len(actual) == len(printed), where
        for place, value in enumerate(printed):
            assert_holds(actual[place], value, f"{where}[{place}]")
    elif isinstance(printed, float):
        assert actual == pytest.approx(printed, abs=0.01), where
    else:
        assert actual == printed, where


@pytest.mark.parametrize(("title", "command", "printed"), EXAMPLES, ids=[title for title, _, _ in EXAMPLES])
def test_the_example_answers_as_printed(server: Replica, title: str, command: str, printed: str) -> None:
    words = shlex.split(command.replace("http://127.0.0.1:8000", server.url))
    answer = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120).stdout
    if "event: " in printed:
        assert answer.startswith(printed.removesuffix("...\n"))
    else:
        assert_holds(json.loads(answer), json.loads(printed), "answer")


@pytest.mark.parametrize(("title", "program", "printed"), PROGRAMS, ids=[title for title, _, _ in PROGRAMS])
def test_a_client_prints_what_stands_below_it(server: Replica, title: str, program: str, printed: str) -> None:
    code = program.replace("http://127.0.0.1:8000", server.url)
    offline = {"HF_HUB_OFFLINE": "0", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | offline, capture_output=True, text=True, timeout=LONG_S
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == printed
