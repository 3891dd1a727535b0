"""How many cores this process may use."""

import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


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


def pick_num_threads() -> int:
    """Threads of the engine: one core stays with the process that answers HTTP."""
    return max(1, int(usable_cores()) - 1)
