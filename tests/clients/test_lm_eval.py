"""lm-eval asks the server as it asks a completions API, and finds what it finds with the model in its own process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beamhouse.engine.loading.files import BUILTIN_FILES
from tests.deploy.processes import LONG_S, ROOT, Replica

EVALS = Path(sys.prefix) / "evals"
"""Where lm-eval is installed, out of the way of all other tests."""
TASKS = Path(__file__).parent / "lm_eval_tasks"
EXACT = 1e-4
"""Log-probabilities of whole texts, summed in another order and by other kernels."""
Found = dict[str, Any]


@pytest.fixture(scope="module")
def found(server: Replica, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """By who was asked: figures of each task, and what was read of each request."""
    quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_DATASETS_CACHE": str(tmp_path_factory.mktemp("datasets"))}
    command = [sys.executable, "-m", "tests.clients.lm_eval_scores", str(BUILTIN_FILES), server.url]
    result = subprocess.run(
        command,
        cwd=TASKS,
        env=os.environ | quiet | {"PYTHONPATH": f"{EVALS}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=2 * LONG_S,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    answer: Found = json.loads(result.stdout.splitlines()[-1])
    return answer


def figures(found: Found, who: str, task: str) -> dict[str, float]:
    return {name: value for name, value in found[who]["results"][task].items() if isinstance(value, float)}


@pytest.mark.parametrize("who", ["completions", "completions, 4 at once"])
@pytest.mark.parametrize("task", ["own_choices", "own_stories", "own_beginnings"])
def test_figures_are_those_of_the_model_in_process(found, who, task):
    own = figures(found, "in process", task)
    assert own
    assert figures(found, who, task) == pytest.approx(own, rel=EXACT)


@pytest.mark.parametrize("who", ["completions", "completions, 4 at once"])
def test_each_choice_is_as_likely_and_as_greedy(found, who):
    read, own = (found[one]["samples"]["own_choices"] for one in (who, "in process"))
    assert len(own) == 8
    for choices, own_choices in zip(read, own, strict=True):
        for (logprob, is_greedy), (own_logprob, is_own_greedy) in zip(choices, own_choices, strict=True):
            assert logprob == pytest.approx(own_logprob, abs=1e-3)
            assert is_greedy == is_own_greedy
    assert {is_greedy for choices in own for _, is_greedy in choices} == {True, False}


@pytest.mark.parametrize("who", ["completions", "completions, 4 at once", "completions of texts"])
def test_the_same_text_is_written(found, who):
    assert found[who]["samples"]["own_beginnings"] == found["in process"]["samples"]["own_beginnings"]


def test_conversations_go_on_in_the_same_text(found):
    assert found["chat"]["samples"] == found["chat in process"]["samples"]
