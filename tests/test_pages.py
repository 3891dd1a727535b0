"""What the pages say of the code is true: paths, names and links exist, commands run, and the picture is new."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.house import picture

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = "config|schemas|client|engine|server|training|benchmarks|tests|docs"
PATHS = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]*\w")
MODULES = re.compile(rf"-m ((?:beamhouse|{FOLDERS})[\w.]*)")
RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """Without blocks of code and of output."""
    return re.sub(r"(?s)```.*?```", "", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_path_on_a_page_exists(page: Path):
    paths = set(PATHS.findall(prose(page)))
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_module_on_a_page_can_be_run(page: Path):
    for module in set(MODULES.findall(page.read_text(encoding="utf-8"))):
        path = ROOT / module.removeprefix("beamhouse.").replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#:\s]+)\)", re.sub(r"`[^`]*`(?!\])", "", prose(page)))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("recipe", RECIPES.split("\n## ")[1:], ids=lambda text: text.split("\n")[0])
def test_a_recipe_names_what_there_is(recipe: str):
    content = "".join(
        file.read_text(encoding="utf-8")
        for path in PATHS.findall(recipe)
        for file in ([ROOT / path] if (ROOT / path).is_file() else (ROOT / path).rglob("*.py"))
    )
    names = set(re.findall(r"`([A-Za-z_]+)`", recipe))
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", content)] == []


@pytest.mark.parametrize("command", re.findall(r"(?m)^python .*$", RECIPES))
def test_the_command_of_a_recipe_runs(command: str):
    arguments = shlex.split(command)[1:]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_picture_shows_the_rooms_as_they_are():
    assert picture.PICTURE.read_text(encoding="utf-8") == picture.picture(), (
        "python -m benchmarks.house.picture draws it anew"
    )
