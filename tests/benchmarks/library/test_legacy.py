"""The worker that has an older library."""

import io
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.cases.answers import Answer
from benchmarks.library.legacy import WorkerFailed, serve, started_worker
from benchmarks.modes import DTYPE
from tests.benchmarks.cases.drawn import NUM_NEW, Side, requests_of


def test_a_worker_answers_call_after_call():
    calls: list[tuple[str, int]] = []
    requests = [asdict(request) for request in requests_of("group_beam_search", 2)]
    lines = [json.dumps({"method": method, "requests": requests}) for method in ("one_by_one", "as_batch")]
    written = io.StringIO()
    serve(Side(calls, "old", 0.5), io.StringIO("\n".join(lines) + "\n"), written)
    versions, *answers = (json.loads(line) for line in written.getvalue().splitlines())
    assert set(versions) == {"torch", "transformers"}
    assert calls == [("old one by one", 2), ("old as batch", 2)]
    assert [[Answer(**answer) for answer in one] for one in answers] == [
        [Answer([1] * NUM_NEW, [0.5] * NUM_NEW, 6, 3)] * 2
    ] * 2


@pytest.mark.parametrize(
    ("python", "said"), [("missing", "No such file"), (shutil.which("false") or sys.executable, "exit status")]
)
def test_an_interpreter_that_does_not_work_is_told(python: str, said: str, tmp_path: Path):
    with pytest.raises(WorkerFailed, match=said), started_worker(tmp_path / python, tmp_path, "cpu", DTYPE, 1):
        pass
