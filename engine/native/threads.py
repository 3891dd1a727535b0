"""How many cores this process may use."""

import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
LARGE_MODEL_BYTES = 128 * 2**20
FEW_CORES = 4


def usable_cores(limit: Path = CGROUP_LIMIT) -> float:
    """Cores by affinity and by the container's quota, whichever is less."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = cpu_quota(limit)
    return cores if quota is None else min(cores, quota)


def cpu_quota(limit: Path = CGROUP_LIMIT) -> float | None:
    """Cores the container may use, or None without a limit."""
    try:
        allowed, period = limit.read_text(encoding="ascii").split()
        return None if allowed == "max" else int(allowed) / int(period)
    except (OSError, ValueError):
        return None


def pick_num_threads(model_bytes: int) -> int:
    """Threads of the engine for a model whose weights take so many bytes.

    A step of a small model is so short that the process that answers HTTP needs a core of its own: where it takes one
    from a team of threads, all of them wait. Beside a large model it hardly counts, unless there are cores to spare.
    """
    cores = max(1, int(usable_cores()))
    return cores if model_bytes >= LARGE_MODEL_BYTES and cores <= FEW_CORES else max(1, cores - 1)
