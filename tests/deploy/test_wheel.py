"""The wheel: every file of the packages is in it, and nothing else."""

import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.deploy.processes import ROOT

ROOMS = ("config", "schemas", "client", "engine", "server")
LEFT_OUT = {"__pycache__", ".DS_Store"}
OF_THE_CLIENT_ALONE = {ROOT / "client" / name for name in ("pyproject.toml", "README.md")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    for folder in ("beamhouse", *ROOMS):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(output)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, capture_output=True)
    return zipfile.ZipFile(next(output.glob("beamhouse-*.whl")))


def packaged(room: str) -> set[str]:
    files = (path for path in (ROOT / room).rglob("*") if path.is_file() and not LEFT_OUT & set(path.parts))
    return {f"beamhouse/{path.relative_to(ROOT).as_posix()}" for path in files if path not in OF_THE_CLIENT_ALONE}


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_is_packaged(wheel: zipfile.ZipFile, room: str):
    assert packaged(room) - set(wheel.namelist()) == set()


def test_one_package_is_all_that_lands_on_the_path(wheel: zipfile.ZipFile):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"beamhouse"}


def test_nothing_else_is_packaged(wheel: zipfile.ZipFile):
    files = {name for name in wheel.namelist() if name.startswith("beamhouse/")}
    assert files - {"beamhouse/__init__.py"} == set().union(*map(packaged, ROOMS))


def test_the_command_is_declared(wheel: zipfile.ZipFile):
    (entry,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "beamhouse = beamhouse.server.command.cli:main" in wheel.read(entry).decode()


def test_the_lock_names_every_dependency_exactly():
    lines = [line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if line]
    assert [line for line in lines if line.count("==") != 1 or "+" in line] == []


def test_nothing_here_names_a_place_of_one_machine():
    names = ("Makefile", "pyproject.toml", "requirements*.lock", "Dockerfile", ".ci/run")
    text = "\n".join(path.read_text(encoding="utf-8") for name in names for path in ROOT.glob(name))
    assert [word for word in ("/root/", "/home/", "file://", "localhost:") if word in text] == []
