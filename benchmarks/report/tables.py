"""How a benchmark tells what it found: the facts that decide the figures, tables, and JSON."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

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


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def show(facts: dict[str, Any]) -> None:
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), end="\n\n")


def write_json(path: Path, facts: dict[str, Any], comparisons: Sequence[dict[str, Any]]) -> None:
    document = {"facts": facts, "comparisons": comparisons}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def markdown(lines: Sequence[Sequence[str]], names: int = 2) -> str:
    """A table. lines: the heads, then the rows. names: how many columns from the left hold no figures."""
    heads, *rows = lines
    rules = ["---"] * names + ["---:"] * (len(heads) - names)
    every = [heads, rules, *rows]
    widths = [max(len(line[column]) for line in every) for column in range(len(heads))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in every
    )
