"""How a benchmark tells what it found: facts, tables, and JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


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
