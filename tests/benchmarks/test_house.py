"""The count of the house, on a small made-up one and on this."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.house.__main__ import count, figures
from benchmarks.house.rooms import cycles
from benchmarks.house.sources import FOLDERS, longest_file, longest_function, loose_files, read_source, read_sources
from benchmarks.house.walk import usual, walk, watched

ROOT = Path(__file__).parents[2]
RULES_APART = {
    "max_length out_of_range",  # the model's context; the room in the cache, which only the engine knows
    "prefix_allowed_tokens out_of_range",  # the ids of a request; those of a trie that the operator gave
    "watermarking_config missing",  # for flags of what is generated; for a text that somebody brings
    "best_of conflict",  # what each protocol lets it go with
    "top_n_tokens out_of_range",  # of the vocabulary; of what the operator allows
}
"""One field and one code, but two rules."""
HOUSE = {
    "schemas/fields.py": "class GenerationFields:\n    top_k: int | None\n    num_beams: int | None\n",
    "schemas/judge.py": """
from beamhouse.schemas.problems import PREFIX, Problem
def check(config):
    if config.top_k:
        yield Problem(PREFIX + "top_k", "out_of_range", "too many")
    yield Problem("inputs", Code.EMPTY, "nothing")
""",
    "schemas/problems.py": 'PREFIX = "generation_config."\n',
    "engine/__init__.py": "",
    "engine/__main__.py": "import beamhouse.engine.loop.steps\n",
    "engine/loop/steps.py": """
from beamhouse.engine import settling
def step(config):
    refuse("generation_config.top_k")
    beams = config.num_beams or 1
    k = config.top_k if config.top_k is not None else 50
    return beams, k, config.num_beams or config.top_k, asked.top_k or 7
def refuse(field):
    raise invalid(field, "out_of_range", "too many")
""",
    "engine/settling.py": "from beamhouse.engine.loop.steps import step\n\n\n",
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    for name, text in HOUSE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "beamhouse").mkdir()
    for folder in ("schemas", "engine"):
        (tmp_path / "beamhouse" / folder).symlink_to(f"../{folder}")
    return tmp_path


def test_a_file_that_a_link_leads_to_counts_once(house: Path):
    assert sorted(source.path for source in read_sources(house)) == sorted(HOUSE)


def test_commands_and_first_files_are_not_loose(house: Path):
    assert loose_files(read_sources(house), "engine") == ["settling.py"]


def test_the_longest_file_and_function_are_named(house: Path):
    sources = read_sources(house)
    assert longest_file(sources).what == "engine/loop/steps.py"
    assert (longest_function(sources).num_lines, longest_function(sources).what) == (5, "engine/loop/steps.py:step")


def test_rooms_look_into_each_other(house: Path):
    rooms = count(read_sources(house))["rooms"]
    assert rooms["arrows between rooms"] == [
        ("engine.__main__", "engine.loop"),
        ("engine.loop", "engine.settling"),
        ("engine.settling", "engine.loop"),
        ("schemas.judge", "schemas.problems"),
    ]
    assert rooms["cycles of modules"] == [["engine.loop.steps", "engine.settling"]]


def test_two_circles_that_do_not_touch_are_two_cycles():
    assert cycles({("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "c")}) == [
        ["a", "b"],
        ["c", "d", "e"],
    ]


def test_a_rule_is_found_in_both_its_rooms(house: Path):
    rules = count(read_sources(house))["rules"]
    places = ["engine/loop/steps.py:9", "schemas/judge.py:5"]
    assert rules["standing twice"] == {"top_k out_of_range": places}
    assert rules["refused by the engine"] == {"top_k": places[:1]}
    assert rules["places unread"] == []


def test_a_default_is_found_where_a_reader_gives_it(house: Path):
    assert count(read_sources(house))["defaults"] == [
        "engine/loop/steps.py:5 config.num_beams or 1",
        "engine/loop/steps.py:6 config.top_k if config.top_k is not None else 50",
    ]


def test_a_traced_process_tells_its_hops(house: Path):
    for name, text in {"first": "from engine import second\ndef go(): second.Far().call()", "second": SECOND}.items():
        (house / "engine" / f"{name}.py").write_text(text)
    notes = house / "notes"
    notes.mkdir()
    subprocess.run([sys.executable, "-c", TRACED], env=os.environ | watched(house, notes), check=True)
    [found] = notes.glob("*.json")
    assert json.loads(found.read_text()) == {
        "entered": ["engine/first.py", "engine/second.py"],
        "hops": [["engine/first.py", "engine/second.py", "Far.call"], ["outside", "engine/first.py", "go"]],
        "leading": [["engine/first.py", "go"]],
    }


SECOND = """
class Far:
    def call(self): return self.near()
    def near(self): return 1
"""
TRACED = """
import os, signal
from engine import first
first.go()
os.kill(os.getpid(), signal.SIGUSR1)
first.go()
os.kill(os.getpid(), signal.SIGUSR2)
first.second.Far().near()
"""


def test_a_walk_is_what_most_requests_did():
    assert usual([{"a", "b"}, {"a", "c"}, {"a", "b"}]) == {"a", "b"}


def test_this_house_has_few_loose_files_and_no_circle():
    counts = count(read_sources(ROOT))
    assert all(len(names) <= 6 for names in counts["loose files"].values())
    assert counts["rooms"]["cycles of modules"] == []
    assert len(figures(counts)) > 10


def test_no_rule_and_no_default_of_this_house_stands_twice():
    counts = count(read_sources(ROOT))
    assert counts["rules"]["standing twice"].keys() <= RULES_APART
    assert counts["defaults"] == []


@pytest.mark.parametrize("folders", [FOLDERS, ("benchmarks", "tests")], ids=["product", "beside it"])
def test_no_file_and_no_function_of_this_house_is_long(folders: tuple[str, ...]):
    sources = [read_source(ROOT, path) for folder in folders for path in (ROOT / folder).rglob("*.py")]
    longest = longest_file(sources), longest_function(sources)
    assert longest[0].num_lines <= 300, longest[0].what
    assert longest[1].num_lines <= 40, longest[1].what


def test_only_commands_stand_at_the_top_of_the_benchmarks():
    loose = [path for path in (ROOT / "benchmarks").glob("*.py") if path.name != "__init__.py"]
    assert len(loose) <= 12
    assert [path.name for path in loose if "\n\n    python -m benchmarks." not in path.read_text()] == []


@pytest.mark.slow
def test_a_plain_request_walks_through_both_processes():
    found = walk(ROOT)
    assert found.files >= {"server/doors/beamhouse/generate.py", "engine/loop/engine.py", "engine/decoding/greedy.py"}
    assert ("engine/loop/engine.py", "engine/decoding/greedy.py", "Greedy.advance") in found.hops
