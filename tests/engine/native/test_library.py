"""What stands between Python and the kernels: two copies of one layout, generators that are torch's, and failures."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.logits.multinomial import Turn, certain, winners
from beamhouse.engine.native import choices, mirrored
from beamhouse.engine.native.choices import sort, unlike_torch
from beamhouse.engine.native.compiler import NoKernels, kernels_file
from beamhouse.engine.native.library import KernelFailed, Kernels, load_kernels, open_library
from beamhouse.engine.native.pick import pick_kernels
from beamhouse.engine.runners.backend import pick_backend
from beamhouse.engine.state.block_cache import BlockCache
from tests.engine.native.families import copy_of
from tests.parity.running import SETTINGS


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return load_kernels(1)


def layout(kernels: Kernels) -> str:
    return kernels.functions.bh_layout().decode()


def test_both_copies_of_the_layout_agree(kernels: Kernels):
    assert mirrored.difference(layout(kernels)) == ""
    assert "Step.kept: p8 at 64" in layout(kernels).splitlines()


@pytest.mark.parametrize(
    ("line", "other", "difference"),
    [
        ("kPanel: 64", "kPanel: 32", "kPanel is 32 in the library and 64 in Python"),
        ("Norm: 40", "Norm: 48", "Norm is 48 in the library and 40 in Python"),
        ("Norm.eps: f4 at 32", "Norm.eps: f4 at 36", "Norm.eps is f4 at 36 in the library and f4 at 32 in Python"),
        ("Norm.eps: f4 at 32", "Norm.eps: i4 at 32", "Norm.eps is i4 at 32 in the library and f4 at 32 in Python"),
        ("Format::kInt8: 2", "Format::kInt8: 3", "Format::kInt8 is 3 in the library and 2 in Python"),
        ("kKeys: 16\n", "", "kKeys is missing in the library and 16 in Python"),
        ("kKeys: 16\n", "kKeys: 16\nkMore: 1\n", "kMore is 1 in the library and missing in Python"),
    ],
)
def test_a_line_that_differs_is_named(kernels: Kernels, line: str, other: str, difference: str):
    told = layout(kernels)
    assert told.count(line) == 1
    assert mirrored.difference(told.replace(line, other)) == difference


def test_kernels_of_another_layout_are_not_used_and_torch_computes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mirrored, "PANEL", 32)
    reason = "was built of other sources: kPanel is 64 in the library and 32 in Python"
    with pytest.raises(NoKernels, match=reason):
        open_library(kernels_file(None)[1])
    # A team that no other test asks for: its kernels are not loaded yet.
    model, settings = copy_of("qwen2"), SETTINGS.model_copy(update={"num_threads": 3})
    picked = pick_kernels(model, settings)
    assert picked.kernels is None
    assert re.fullmatch(f"torch; no native kernels: .*{reason}", pick_backend(model, cache(), settings, picked).kernels)
    with pytest.raises(ModelUnsupported, match=reason):
        pick_kernels(model, settings.model_copy(update={"kernels": "native"}))


def cache() -> BlockCache:
    return BlockCache(8, 16)


def test_draws_of_this_torch_are_those_of_the_kernels(kernels: Kernels):
    assert unlike_torch(kernels) == ""


def other_state(patch: pytest.MonkeyPatch) -> str:
    patch.setattr(choices, "STATE_BYTES", 5064)
    return "the state of a torch generator has 5056 bytes, not 5064"


def other_draws(patch: pytest.MonkeyPatch) -> str:
    multinomial = torch.multinomial
    patch.setattr(torch, "multinomial", lambda *args, **kwargs: multinomial(*args, **kwargs) ^ 1)
    return "torch draws other tokens than the kernels"


def other_use_of_numbers(patch: pytest.MonkeyPatch) -> str:
    equal = torch.equal
    patch.setattr(torch, "equal", lambda one, two: equal(one, two) and one.numel() != choices.STATE_BYTES)
    return "torch leaves its generators in another state than the kernels"


@pytest.mark.parametrize("change", [other_state, other_draws, other_use_of_numbers])
def test_where_generators_are_others_torch_draws(change, kernels: Kernels, monkeypatch: pytest.MonkeyPatch):
    unknown = replace(kernels)
    with monkeypatch.context() as patch:
        reason = change(patch)
        assert unlike_torch(unknown) == reason
    scores = torch.randn(3, 500, generator=torch.Generator().manual_seed(0))
    ours, theirs = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    assert certain(scores, range(3), [Turn(ours, 3)], unknown) is None
    assert torch.equal(ours.get_state(), theirs.get_state())
    expected = torch.multinomial(scores.softmax(-1), 1, generator=theirs)
    assert torch.equal(winners(scores.softmax(-1), [Turn(ours, 3)]), expected)


def test_a_model_says_that_torch_draws(monkeypatch: pytest.MonkeyPatch):
    model, settings = copy_of("qwen2"), SETTINGS.model_copy(update={"num_threads": 5})
    other_state(monkeypatch)
    picked = pick_kernels(model, settings)
    assert picked.kernels is not None
    kernels = pick_backend(model, cache(), settings, picked).kernels
    assert kernels == (
        f"{picked.kernels.variant}, whole decoder; draws by torch: "
        "the state of a torch generator has 5056 bytes, not 5064"
    )


@pytest.mark.parametrize("size", [-1, 2**60], ids=["in the calling thread", "in a thread of the team"])
def test_what_a_kernel_throws_is_an_exception_here(size: int):
    kernels, scores = load_kernels(2), torch.randn(4, 100)
    with pytest.raises(KernelFailed, match=r"bh_sort: .*vector"):
        kernels.functions.bh_sort(kernels.team, scores.data_ptr(), 1, size, None, None)
    assert torch.equal(sort(kernels, scores), scores.sort(dim=-1).values)


OUT_OF_THREADS = """
import resource, sys
from pathlib import Path
from beamhouse.engine.native.library import KernelFailed, open_library

functions = open_library(Path(sys.argv[1]))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
try:
    functions.bh_team(1000)
except KernelFailed as error:
    print(error)
print(len(list(Path("/proc/self/task").iterdir())), "thread")
"""


def test_a_team_that_is_too_large_is_refused_and_leaves_no_thread_behind():
    file = kernels_file(None)[1]
    done = subprocess.run([sys.executable, "-c", OUT_OF_THREADS, file], capture_output=True, text=True, timeout=60)
    assert re.fullmatch("bh_team: .+\n1 thread\n", done.stdout), done.stderr


def test_a_file_that_is_no_library_says_so(tmp_path: Path):
    (tmp_path / "kernels.so").touch()
    with pytest.raises(NoKernels, match="cannot be loaded"):
        open_library(tmp_path / "kernels.so")
