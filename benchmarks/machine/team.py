"""What our own team of threads and ctypes cost beside OpenMP and an extension module.

    python -m benchmarks.machine.team [--threads 2]

Prints microseconds. The team and OpenMP (that of the compiler) run empty jobs: one call after the other, one after a
pause as between two steps, and barriers inside a job. Calls go from Python into C and back: through ctypes, as the
kernels are called, and through an extension module written by hand.
"""

import argparse
import importlib.util
import os
import subprocess
import sysconfig
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from beamhouse.engine.native.library import load_kernels
from beamhouse.engine.native.mirrored import Format

SOURCES = Path(__file__).parent


def compiled(source: str, target: Path, *flags: str) -> Path:
    subprocess.run(["c++", "-O3", "-std=c++20", *flags, SOURCES / source, "-o", target], check=True)
    return target


def measure_threads(directory: Path, num_threads: int) -> None:
    program = compiled("fork_join.cpp", directory / "fork_join", "-pthread", "-fopenmp")
    own = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    for policy in (None, "passive", "active"):
        print(f"\nOMP_WAIT_POLICY={policy}" if policy else "as both come")
        changed = {} if policy is None else {"OMP_WAIT_POLICY": policy}
        subprocess.run([program, str(num_threads)], env={**own, **changed}, check=True)


def microseconds(call: Callable[[], Any]) -> float:
    """Of one call: the least of some runs, without what the loop itself costs."""

    def time(function: Callable[[], Any]) -> float:
        return min(timeit.repeat(function, number=2_000, repeat=99)) / 2_000 * 1e6

    return time(call) - time(lambda: None)


def extension(directory: Path) -> Any:  # Any: a module
    include = f"-I{sysconfig.get_paths()['include']}"
    file = compiled("extension.cpp", directory / "extension.so", "-shared", "-fPIC", include)
    spec = importlib.util.spec_from_file_location("extension", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure_calls(directory: Path) -> None:
    kernels, module = load_kernels(1), extension(directory)
    functions, scores, form = kernels.functions, torch.zeros(1, 1), int(Format.FLOAT32)
    at, numbers = scores.data_ptr(), torch.ones(3, dtype=torch.int64)
    k, places, counts = (numbers.data_ptr() + 8 * i for i in range(3))
    calls = {
        "ctypes, three arguments": lambda: functions.bh_packed_bytes(64, 64, form),
        "extension, three arguments": lambda: module.packed_bytes(64, 64, form),
        "ctypes, eight arguments and the check of what comes back": lambda: functions.bh_keep_largest(
            kernels.team, at, 1, 1, k, 1, places, counts
        ),
    }
    print("\ncalls")
    for name, call in calls.items():
        print(f"{name}: {microseconds(call):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        measure_threads(Path(work), options.threads)
        measure_calls(Path(work))


if __name__ == "__main__":
    main()
