"""The model of a comparison in the format of each side, written where it is missing."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from beamhouse.engine.loading.files import BUILTIN, BUILTIN_FILES

ROOT = Path(__file__).parents[2]
GENERATED = {"llama": 24, "small": 2}
"""Layers: 0.4 billion weights, and few enough for every day."""


class NotWritten(Exception):
    """A model could not be written in the format of a peer."""


@dataclass(frozen=True, slots=True)
class Model:
    """source: its directory as the library reads it. folder: where the other formats lie."""

    source: Path
    folder: Path
    peers: Path

    def gguf(self, kind: str) -> Path:
        """kind: bf16, q8_0 or f32."""
        module = ("benchmarks.peers.write_gguf", self.source)
        return self._written(
            f"{kind}.gguf", lambda file: python(self.peers, "llama.cpp", *module, file, "--type", kind)
        )

    def openvino(self) -> Path:
        module = ("benchmarks.peers.write_openvino", self.source)
        return self._written("openvino", lambda folder: python(self.peers, "openvino", *module, folder))

    def _written(self, name: str, write: Callable[[Path], None]) -> Path:
        """Under its name only when it is whole."""
        path, part = self.folder / name, self.folder / f"part-{name}"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write(part)
            part.rename(path)
        return path


def chosen_model(name: str, peers: Path) -> Model:
    """name: one of GENERATED, builtin, or a directory."""
    if name in GENERATED:
        return generated(name, peers)
    return Model(BUILTIN_FILES if name == BUILTIN else Path(name), peers / "models" / Path(name).name, peers)


def generated(name: str, peers: Path) -> Model:
    """A model of random weights, of which all tokens are words."""
    folder = peers / "models" / name
    if not (folder / "source" / "config.json").exists():
        arguments = (str(folder / "source"), f"--layers={GENERATED[name]}")
        run([sys.executable, "-m", "benchmarks.models.llama_shape", *arguments])
    return Model(folder / "source", folder, peers)


def python(peers: Path, peer: str, module: str, *arguments: str | Path) -> None:
    run([str(peers / peer / "venv" / "bin" / "python"), "-m", module, *map(str, arguments)])


def run(command: list[str]) -> None:
    """Raises NotWritten with the last line of its output. Nothing is asked of a hub."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotWritten(str(error)) from error
    if done.returncode:
        raise NotWritten(f"{command[2]}: {(done.stderr.strip() or 'no output').splitlines()[-1]}")
