"""What this machine is, and which state of the working tree runs on it."""

import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit() -> str:
    """The commit of the working tree, marked where files differ from it; empty outside of one."""
    try:
        asked = ("git", "describe", "--always", "--dirty", "--exclude=*")
        return subprocess.check_output(asked, cwd=ROOT, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def memory_gib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
