"""How many connections the files of this process allow."""

import os
import resource
from pathlib import Path

OPEN_FILES = Path("/proc/self/fd")
USUAL_FILES = 64  # where the system does not tell how many are open
SPARE_FILES = 40
"""For what opens beside connections: the engine's socket, stored configurations, the tokenizer, what threads hold."""


def num_open() -> int:
    try:
        return len(os.listdir(OPEN_FILES))
    except OSError:
        return USUAL_FILES


def raise_limit(wanted: int) -> int:
    """Let this process open as many files as are wanted, if it may; how many it may open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    goal = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if goal > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
    return max(goal, soft)


def places_for(max_connections: int, beyond: int) -> int:
    """How many of the wanted connections there is room for, with some `beyond` that number; at least one."""
    taken = num_open() + SPARE_FILES + beyond
    return max(1, min(max_connections, raise_limit(max_connections + taken) - taken))
