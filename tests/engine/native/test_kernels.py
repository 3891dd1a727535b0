"""Every kernel beside its plain reference, over random sizes; `make test-sanitized` runs the same under sanitizers."""

import subprocess
from pathlib import Path

import pytest

from beamhouse.engine.native.compiler import pick_variant, processor_flags
from tests.engine.native.sanitized import build_tests


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tests(tmp_path_factory.mktemp("kernels"), pick_variant(processor_flags()), ())


@pytest.mark.parametrize(
    "check",
    ["team", "products", "norms", "rotary", "activations", "attention", "races", "cuts", "sorting", "swaps"],
)
def test_a_kernel_gives_what_its_reference_gives(program: Path, check: str):
    done = subprocess.run([program, check], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
