"""What this machine can do at best: bytes read a second, and arithmetic of large matrix products.

    python -m benchmarks.machine.limits [--threads 2] [--dtype bfloat16]

Decoding reads every weight once a step, so it is bound by the first; prompts and many rows by the second.
"""

import argparse
import json
import mmap
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

READ_BYTES = 512 << 20
MATRIX = 2048
REPEATS = 7


@dataclass(frozen=True, slots=True)
class Limits:
    """read_gb_s: 10^9 bytes a second out of memory in huge pages. gemm_gflop_s: 10^9 operations a second, where a
    multiplication and its addition count as two."""

    read_gb_s: float
    gemm_gflop_s: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.machine.limits", description="Bandwidth and arithmetic at best.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps(asdict(measure(getattr(torch, options.dtype)))))


def measured_apart(threads: int, dtype: str) -> Limits:
    """In a process of its own, whose threads end with it."""
    command = [sys.executable, "-m", "benchmarks.machine.limits", f"--threads={threads}", f"--dtype={dtype}"]
    return Limits(**json.loads(subprocess.check_output(command, text=True)))


@torch.inference_mode()
def measure(dtype: torch.dtype) -> Limits:
    memory = huge_pages(READ_BYTES)
    left, right = torch.randn(2, MATRIX, MATRIX).to(dtype)
    read_s = best_of(REPEATS, lambda: memory.sum())
    product_s = best_of(REPEATS, lambda: left @ right)
    return Limits(READ_BYTES / read_s / 1e9, 2 * MATRIX**3 / product_s / 1e9)


def huge_pages(num_bytes: int) -> torch.Tensor:
    """float32 zeros that were written once. Where the system has no huge pages these are ordinary ones."""
    memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.float32).fill_(0.0)


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """The shortest time in seconds, after one run to warm up: what disturbs a run only makes it longer."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])


if __name__ == "__main__":
    main()
