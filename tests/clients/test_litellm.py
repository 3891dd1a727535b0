"""`litellm` against a real server: completions and chat, plain and streamed, and its kinds of errors."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.deploy.processes import ROOT, Replica


@pytest.fixture(scope="module")
def told(server: Replica) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.clients.litellm_calls", server.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_streams_come_to_the_plain_answers(told: dict[str, Any]) -> None:
    assert told["chat"] == told["chat stream"] != ""
    assert told["text"] == told["text stream"] != ""
    assert told["chat tokens"] == told["text tokens"] == 12
    assert told["chat end"] == told["chat stream end"] == "length"


def test_fields_of_generate_pass_through(told: dict[str, Any]) -> None:
    assert told["beams"] not in ("", told["chat"])


def test_what_is_too_long_and_what_is_unknown_are_errors_of_their_own(told: dict[str, Any]) -> None:
    assert told["too long"].startswith("ContextWindowExceededError")
    assert told["unknown"].startswith("BadRequestError")
    assert "nobody is not a field" in told["unknown"]
