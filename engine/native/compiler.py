"""Compiles the kernels for this processor, once, and keeps what came of it.

The result is named after all that goes into it, so that another version or processor never meets a stale one.

    python -m beamhouse.engine.native.compiler [DIRECTORY]   for this processor, or, into DIRECTORY, for all of its kind
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "src"
MAIN = "api.cpp"
FLAGS = ("-O3", "-std=c++20", "-shared", "-fPIC", "-pthread")
TIMEOUT_S = 300.0


class NoKernels(Exception):
    """The kernels cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compile the kernels. needs: flags of the processor, as the kernel of Linux names them."""

    name: str
    machine: str
    needs: frozenset[str]
    flags: tuple[str, ...]


_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"})
VARIANTS = (
    Variant(
        "avx512_bf16",
        "x86_64",
        _AVX512 | {"avx512_bf16", "avx512_vnni"},
        ("-march=x86-64-v4", "-mavx512bf16", "-mavx512vnni"),
    ),
    Variant("avx512", "x86_64", _AVX512, ("-march=x86-64-v4",)),
    Variant("avx2", "x86_64", frozenset({"avx2", "fma", "f16c", "bmi2"}), ("-march=x86-64-v3",)),
    Variant("neon", "aarch64", frozenset({"asimd"}), ()),
)
"""The best comes first."""


def kernels_file(directory: Path | None) -> tuple[Variant, Path]:
    """The compiled kernels for this processor, made now if need be. Raises NoKernels.

    directory: where they are kept; None: with the user's other caches, or where those cannot be written, in a private
    directory among the temporary files.
    """
    variant = pick_variant(processor_flags())
    return variant, compiled(variant, _usable(directory))


def compiled(variant: Variant, directory: Path) -> Path:
    """One variant's file, made now if it is not there. Raises NoKernels."""
    target = directory / f"kernels-{variant.name}-{_digest(variant)}.so"
    if not target.is_file():
        compiler = shutil.which("c++") or shutil.which("g++")
        if compiler is None:
            raise NoKernels("no C++ compiler is installed")
        _compile(compiler, variant, target)
    return target


def pick_variant(flags: frozenset[str]) -> Variant:
    """The best variant that a processor with these flags runs. Raises NoKernels."""
    for variant in VARIANTS:
        if variant.needs <= flags:
            return variant
    raise NoKernels("the processor has none of " + ", ".join(variant.name for variant in VARIANTS))


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor can do, in Linux's names; none where that is not told."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(
        flag
        for line in lines
        if line.lower().startswith(("flags", "features"))
        for flag in line.partition(":")[2].split()
    )


def _usable(directory: Path | None) -> Path:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        return directory
    usual = Path.home() / ".cache" / "beamhouse"
    try:
        usual.mkdir(parents=True, exist_ok=True)
        if os.access(usual, os.W_OK):
            return usual
    except OSError:
        pass
    # Only its owner may write there, so nobody else can put code into it.
    private = Path(tempfile.gettempdir()) / f"beamhouse-{os.getuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid() or private.is_symlink():
        raise NoKernels(f"{private} belongs to somebody else")
    return private


def _digest(variant: Variant) -> str:
    digest = hashlib.sha256(repr((FLAGS, variant.flags)).encode())
    for file in sorted(SOURCES.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _compile(compiler: str, variant: Variant, target: Path) -> None:
    """Compile into a file of its own first, so that two processes that start at once do not read half a library."""
    name = Path(compiler).name
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="compiling-") as work:
            part = Path(work) / target.name
            command = [compiler, *FLAGS, *variant.flags, str(SOURCES / MAIN), "-o", str(part)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
            if done.returncode:
                errors = [line for line in done.stderr.splitlines() if "error" in line] or [f"status {done.returncode}"]
                raise NoKernels(f"{name} failed: {errors[0]}")
            part.rename(target)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoKernels(f"{name} did not run: {error}") from error


def main() -> None:
    try:
        if len(sys.argv) == 1:
            print(kernels_file(None)[1])
            return
        directory = _usable(Path(sys.argv[1]))
        for variant in VARIANTS:
            if variant.machine == platform.machine():
                print(compiled(variant, directory))
    except NoKernels as error:
        sys.exit(f"no native kernels: {error}")


if __name__ == "__main__":
    main()
