"""Compiles the kernels with what finds bad memory, undefined behaviour and data races, and runs their tests.

    python -m tests.engine.native.sanitized

The C++ tests run once for each kind of vectors that this processor has, and once under the thread sanitizer. Those in
Python run over a library that is built of the same sources with the sanitizers of memory and of undefined behaviour; it
lies under the name by which `kernels_file` looks for it, in a home of its own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from beamhouse.engine.native import compiler
from beamhouse.engine.native.compiler import MAIN, SOURCES, VARIANTS, Variant, pick_variant, processor_flags

TESTS = Path(__file__).parent
NARROW = Variant("narrow", "", frozenset(), ())
"""Vectors of 16 bytes, as they are compiled where nothing else is known."""
MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREADS = ("-fsanitize=thread",)
COMMON = ("-std=c++20", "-O1", "-g1", "-pthread", "-D_GLIBCXX_ASSERTIONS")


def build(target: Path, source: Path, *flags: str) -> Path:
    """Raises RuntimeError with what the compiler says."""
    done = subprocess.run(["c++", *COMMON, *flags, source, "-o", target], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return target


def build_tests(directory: Path, variant: Variant, sanitizer: tuple[str, ...]) -> Path:
    """The program of `kernels_test.cpp`."""
    target = directory / f"kernels_test-{variant.name}-{len(sanitizer)}"
    return build(target, TESTS / "kernels_test.cpp", *variant.flags, *sanitizer)


def own_variants() -> list[Variant]:
    """All that run on this processor."""
    return [*(variant for variant in VARIANTS if variant.needs <= processor_flags()), NARROW]


def run(what: str, command: list[object], **environment: str) -> bool:
    print(f"{what}:", "...", flush=True)
    done = subprocess.run([str(one) for one in command], env={**os.environ, **environment})
    print(f"{what}:", "clean" if done.returncode == 0 else f"status {done.returncode}", flush=True)
    return done.returncode == 0


def run_python_tests(home: Path, arguments: list[str]) -> bool:
    variant = pick_variant(processor_flags())
    kept = home / ".cache" / "beamhouse"
    kept.mkdir(parents=True)
    name = f"kernels-{variant.name}-{compiler._digest(variant)}.so"
    build(kept / name, SOURCES / MAIN, "-shared", "-fPIC", *variant.flags, *MEMORY)
    runtimes = [subprocess.run(["c++", f"-print-file-name={one}.so"], capture_output=True, text=True).stdout.strip()
                for one in ("libasan", "libubsan")]  # fmt: skip
    return run(
        "python",
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(arguments or [TESTS])],
        HOME=str(home),
        LD_PRELOAD=":".join(runtimes),
        # What Python itself never gives back is no leak of ours; a vector of 2^60 numbers is asked for on purpose.
        ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1",
    )


def main() -> None:
    if shutil.which("c++") is None:
        sys.exit("no C++ compiler is installed")
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work)
        clean = [run(variant.name, [build_tests(directory, variant, MEMORY)]) for variant in own_variants()]
        clean.append(run("threads", [build_tests(directory, own_variants()[0], THREADS)]))
        clean.append(run_python_tests(directory / "home", sys.argv[1:]))
    sys.exit(not all(clean))


if __name__ == "__main__":
    main()
