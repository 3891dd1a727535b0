"""The distribution `beamhouse-client`: built, put into an environment that holds httpx alone, and used from there."""

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.deploy.processes import ROOT, Replica

USE = """
import sys
from beamhouse.client import Client

with Client(sys.argv[1]) as client:
    answer = client.generate("Once upon a time", generation_config={"max_new_tokens": 4})
    with client.stream("Once upon a time", generation_config={"max_new_tokens": 4}) as events:
        last = list(events)[-1]
assert last["event"] == "done" and last["answer"]["sequences"] == answer["sequences"]
print(answer["usage"]["generated_tokens"], *sorted({"torch", "pydantic", "fastapi"} & sys.modules.keys()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, output = tmp_path_factory.mktemp("source") / "client", tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "client", source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(output)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, capture_output=True)
    return next(output.glob("beamhouse_client-*.whl"))


def needed(name: str) -> Iterator[str]:
    """A distribution and all that it asks for without extras."""
    yield name
    for line in metadata.requires(name) or []:
        if "extra ==" not in line and "python_version" not in line:
            yield from needed(re.split(r"[^\w-]", line)[0])


def put_in(name: str, place: Path) -> None:
    """The files of an installed distribution, so that no index is asked."""
    for file in metadata.files(name) or []:
        if ".." not in file.parts and "__pycache__" not in file.parts:
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), place / file)


def test_it_holds_the_client_and_asks_for_httpx_alone(wheel: Path):
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        about = next(file.read(name).decode() for name in file.namelist() if name.endswith("METADATA"))
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "client").rglob("*.py")}
    assert names == {f"beamhouse/{name}" for name in modules} | {"beamhouse/client/py.typed"}
    assert re.findall(r"(?m)^Requires-Dist: (\S+)", about) == ["httpx>=0.28"]


def test_it_works_where_nothing_else_is_installed(wheel: Path, server: Replica, tmp_path: Path):
    venv.create(tmp_path / "alone", symlinks=True)
    place = next((tmp_path / "alone" / "lib").glob("python*/site-packages"))
    for name in {*needed("httpx"), "typing_extensions"}:
        put_in(name, place)
    with zipfile.ZipFile(wheel) as file:
        file.extractall(place)
    command = [str(tmp_path / "alone" / "bin" / "python"), "-I", "-W", "error", "-c", USE, server.url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("4\n", "")
