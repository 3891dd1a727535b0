"""How a comparison gets into the documentation."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.publish import NoMarks, between_marks, draw
from tests.benchmarks.report.ledgers import RUN, ledger_of


def test_tables_replace_what_stands_between_the_marks():
    page = "before\n<!-- a begins -->\nold\n<!-- a ends -->\nafter\n<!-- b begins --><!-- b ends -->\n"
    new = between_marks(page, "a", "new")
    assert new.startswith("before\n<!-- a begins -->\n\nnew\n\n<!-- a ends -->\nafter\n")
    assert new.endswith("<!-- b begins --><!-- b ends -->\n")
    assert between_marks(new, "a", "new") == new


@pytest.mark.parametrize(
    "page",
    ["", "<!-- a begins -->", "<!-- a ends --><!-- a begins -->", "<!-- a begins --><!-- a ends -->" * 2],
)
def test_a_page_without_its_marks_is_left_alone(page: str):
    with pytest.raises(NoMarks):
        between_marks(page, "a", "new")


def test_the_picture_is_drawn_of_whatever_was_measured(tmp_path: Path):
    draw(ledger_of(tmp_path, RUN, replace(RUN, side="llama.cpp", load="prefill")), tmp_path / "picture.svg")
    picture = (tmp_path / "picture.svg").read_text()
    assert "</svg>" in picture
    assert "tokens per second" in picture


@pytest.mark.parametrize("name", ["llama", "builtin"])
def test_the_page_on_performance_has_a_place_for_each_model(name: str):
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert between_marks(page, name, "tables") != page
