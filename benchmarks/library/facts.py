"""What decides the figures of a comparison with the library: settings, versions, machine."""

import os
import platform
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine.facts import cpu_name

PACKAGES = ("torch", "transformers", "tokenizers", "fastapi", "uvicorn")


def describe(options: Any, info: dict[str, Any]) -> dict[str, Any]:  # Any: each benchmark has options of its own
    """Everything that decides the figures. options: a dataclass; info: what the server tells of itself."""
    chosen = {field.name: plain(getattr(options, field.name)) for field in fields(options) if field.name != "json"}
    versions = {package: metadata.version(package) for package in PACKAGES}
    return {
        "settings": chosen,
        "server": {"version": info["version"], **info["model"], "max_rows": info["limits"]["max_rows"]},
        "versions": {"python": platform.python_version(), **versions},
        "machine": {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "torch_threads": torch.get_num_threads()},
    }


def plain(value: Any) -> Any:  # Any: of an option
    """Paths as text, all else as it is."""
    return str(value) if isinstance(value, Path) else value
