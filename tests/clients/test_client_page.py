"""The examples of the client's page and of its README, run as they stand there."""

import re
import subprocess
import sys

import pytest

from tests.deploy.processes import ROOT, Replica

PAGES = ("docs/client.md", "client/README.md")
EXAMPLES = [code for page in PAGES for code in re.findall(r"(?s)```python\n(.*?)```", (ROOT / page).read_text("utf-8"))]


def test_there_are_five():
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(server: Replica, code: str):
    own = code.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run([sys.executable, "-c", own], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
