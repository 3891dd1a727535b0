"""Installs the servers that this one is compared with, each in a folder and an environment of its own.

    python -m benchmarks.peers.build [--peers .peers] [--jobs 2] [--only NAME ...]

What was built is left alone; what cannot be built leaves the reason in its folder, and the comparison tells it.
"""

import argparse
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LLAMA_SOURCES = "llama-cpp-python==0.3.36"
"""Its source archive carries llama.cpp; the package itself is not installed."""

CMAKE_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DGGML_CCACHE=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
)
FAILED = "failed.txt"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a peer is built; all output of its tools goes to `build.log` there."""

    folder: Path
    jobs: int

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    def call(self, *command: str | Path) -> None:
        """Raises BuildFailed with the last line that the command said."""
        log = self.folder / "build.log"
        with log.open("ab") as output:
            status = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
        if status:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise BuildFailed(f"{command[0]} ended with status {status}: {lines[-1] if lines else ''}")


class BuildFailed(Exception):
    """A tool that builds a peer ended with an error."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.peers.build", description="Installs the peers.")
    parser.add_argument("--peers", type=Path, default=Path(".peers"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(BUILDERS), default=list(BUILDERS), metavar="NAME")
    options = parser.parse_args()
    reasons = {name: build(name, Site(options.peers.resolve() / name, options.jobs)) for name in options.only}
    for name, reason in reasons.items():
        print(f"{name}: {reason or 'built'}")
    sys.exit(all(reasons.values()))


def build(name: str, site: Site) -> str | None:
    """None, or why it could not be built."""
    site.folder.mkdir(parents=True, exist_ok=True)
    failed = site.folder / FAILED
    try:
        BUILDERS[name](site)
    except (BuildFailed, OSError) as error:
        failed.write_text(f"{error}\n")
        return str(error)
    failed.unlink(missing_ok=True)
    return None


def environment(site: Site, name: str) -> None:
    """A virtual environment with exactly what `name.txt` beside this file lists.

    Dependencies are not followed: no package may bring another build of torch.
    """
    if not site.python.exists():
        venv.create(site.folder / "venv", with_pip=True)
    site.call(site.python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", HERE / f"{name}.txt")


def build_llama_cpp(site: Site) -> None:
    environment(site, "llama.cpp")
    sources, built = site.folder / "sources", site.folder / "build"
    if not sources.exists():
        unpack(site, sources)
    site.call("cmake", "-S", sources / "vendor" / "llama.cpp", "-B", built, *CMAKE_OPTIONS)
    site.call("cmake", "--build", built, "--parallel", str(site.jobs), "--target", "llama-server")


def unpack(site: Site, sources: Path) -> None:
    archives = site.folder / "archive"
    package = LLAMA_SOURCES.partition("==")[0]
    download = ("download", "--quiet", "--no-deps", "--no-binary", package, "--dest", archives, LLAMA_SOURCES)
    site.call(sys.executable, "-m", "pip", *download)
    (archive,) = archives.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(site.folder / "unpacked", filter="data")
    (top,) = (site.folder / "unpacked").iterdir()
    top.rename(sources)


BUILDERS: dict[str, Callable[[Site], None]] = {
    "llama.cpp": build_llama_cpp,
    "openvino": lambda site: environment(site, "openvino"),
    "transformers": lambda site: environment(site, "transformers"),
}


if __name__ == "__main__":
    main()
