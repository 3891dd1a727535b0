"""Which kernels are compiled, where they are kept, and what is said where they cannot be had."""

import shutil
from pathlib import Path

import pytest

from beamhouse.engine.native import compiler
from beamhouse.engine.native.compiler import VARIANTS, NoKernels, kernels_file, pick_variant, processor_flags

AVX2 = frozenset({"avx2", "fma", "f16c", "bmi2"})
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (AVX2, "avx2"),
        (AVX512, "avx512"),
        (AVX512 | {"avx512_bf16"}, "avx512"),
        (AVX512 | {"avx512_bf16", "avx512_vnni"}, "avx512_bf16"),
        (frozenset({"asimd"}), "neon"),
    ],
)
def test_the_best_variant_that_runs_is_picked(flags: frozenset[str], name: str) -> None:
    assert pick_variant(flags).name == name


def test_a_processor_without_any_is_told_so() -> None:
    with pytest.raises(NoKernels, match="none of avx512_bf16, avx512, avx2, neon"):
        pick_variant(frozenset({"sse2"}))


def test_flags_are_read_in_both_forms(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("model name\t: x\nflags\t\t: fpu avx2 fma\n")
    assert processor_flags(file) == {"fpu", "avx2", "fma"}
    file.write_text("Features\t: fp asimd\n")
    assert processor_flags(file) == {"fp", "asimd"}
    assert processor_flags(tmp_path / "nowhere") == frozenset()


def test_what_is_compiled_once_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(compiler, "_compile", lambda name, variant, target: (calls.append(target), target.touch()))
    assert kernels_file(tmp_path / "new") == kernels_file(tmp_path / "new")
    assert len(calls) == 1


def test_without_a_compiler_there_are_no_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoKernels, match=r"no C\+\+ compiler"):
        kernels_file(tmp_path)


def test_kernels_that_came_with_an_image_need_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for variant in VARIANTS:
        (tmp_path / f"kernels-{variant.name}-{compiler._digest(variant)}.so").touch()
    variant, file = kernels_file(tmp_path)
    assert file.name.startswith(f"kernels-{variant.name}-")


def test_a_directory_that_cannot_be_written_to_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(compiler.tempfile, "TemporaryDirectory", refuse)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/c++")
    with pytest.raises(NoKernels, match="read-only"):
        kernels_file(tmp_path)


def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'api.cpp: error: no' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(broken))
    with pytest.raises(NoKernels, match=r"api\.cpp: error: no"):
        kernels_file(tmp_path / "kernels")
    assert list((tmp_path / "kernels").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant.needs <= processor_flags()])
def test_each_variant_of_this_processor_compiles(variant: compiler.Variant, tmp_path: Path) -> None:
    compiler._compile(shutil.which("c++") or "g++", variant, tmp_path / "kernels.so")
    assert (tmp_path / "kernels.so").is_file()
