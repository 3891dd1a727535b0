"""`beamhouse detect`: what it finds here, without weights, is what a server finds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from beamhouse.engine.loading.files import BUILTIN_FILES
from tests.deploy.processes import ROOT, Replica

# Sampled by the built-in model with {"bias": 2.5}; the README shows how a server finds it.
MARKED = (
    "there was a little girl. She wanted to go for a walk in the park. So she went and hopped, to the park.\n"
    "She took a walk in the park. There was a lot"
)
PLAIN = "Nobody marked this text, which has some more words so that there is something to count."
MARK = ("--watermarking-config", '{"bias": 2.5}')


def detect(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "beamhouse.server", "detect", *arguments]
    return subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False)


def test_a_mark_is_found_here_as_by_a_server_and_without_weights(server: Replica, tmp_path: Path):
    shutil.copytree(BUILTIN_FILES, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    asked = ("-", PLAIN, *MARK, "--return-flags", "--json")
    here = detect(*asked, "--model", str(tmp_path / "model"), text=MARKED)
    there = detect(*asked, "--url", server.url, text=MARKED)
    assert (here.returncode, there.returncode) == (0, 0), here.stderr + there.stderr
    found = json.loads(here.stdout)
    assert found["detections"] == json.loads(there.stdout)["detections"]
    assert [one["prediction"] for one in found["detections"]] == [True, False]


def test_the_table_has_a_row_for_each_text_and_signs_for_its_tokens(server: Replica):
    lines = detect(MARKED, PLAIN, *MARK, "--url", server.url, "--return-flags").stdout.splitlines()
    heads, marked, plain, marked_flags, plain_flags = lines
    assert heads.split() == ["marked", "scored", "green", "z_score", "p_value", "text"]
    assert marked.split()[:4] == ["yes", "40", "0.575", "4.747"]
    assert plain.split()[0] == "no"
    assert marked_flags.count("+") == 23
    assert set(plain_flags) <= set("+-.")


def test_a_mark_that_the_settings_name_is_looked_for(tmp_path: Path):
    (tmp_path / "own.json").write_text('{"bias": 2.5}')
    done = detect(MARKED, "--watermark", f"own={tmp_path / 'own.json'}", "--watermarking-config", "own", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["watermark"], found["detections"][0]["prediction"]) == ("own", True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("a",), "watermarking_config says no watermark to look for"),
        (("a", *MARK, "--z-threshold", "many"), 'z_threshold is "many"; expected a number'),
        (("a", "--model", "none/such/model"), "is neither a directory nor a model that could be fetched"),
        (("a", "--url", "http://127.0.0.1:1", "--model", "b"), "leave out model"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], told: str):
    done = detect(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr.splitlines()[-1]


def test_a_server_says_what_is_wrong_in_the_same_words(server: Replica):
    done = detect("a", "--url", server.url)
    assert done.returncode == 1
    assert done.stderr.startswith("beamhouse: watermarking_config says no watermark to look for")
