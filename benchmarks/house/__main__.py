"""Counts the house: how far a plain request walks, how the rooms lie, what is said twice, how long things are.

    python -m benchmarks.house [ROOT] [--static] [--json FILE]

ROOT is a checkout, this directory if none is given; it may be one from before the packages were installed as
`beamhouse`. Each count is defined where it is made: `walk`, `rooms`, `rules`, `defaults`, `sources`. The JSON holds the
names behind the figures, so that two checkouts can be compared by more than numbers.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.house.defaults import default_sites
from benchmarks.house.rooms import cycles, module_arrows, room_arrows, rooms
from benchmarks.house.rules import Refusal, refusals, refused_by_engine, standing_twice
from benchmarks.house.sources import (
    FOLDERS,
    Source,
    declared,
    longest_file,
    longest_function,
    loose_files,
    num_lines,
    read_sources,
)
from benchmarks.house.walk import walk
from benchmarks.report.tables import markdown

Counts = dict[str, Any]  # Any: figures, names and places, as JSON has them


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.house", description="Counts the house.")
    parser.add_argument("root", type=Path, nargs="?", default=Path(), help="a checkout; this directory by default")
    parser.add_argument("--static", action="store_true", help="leave out the walk of a request, which starts a server")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything, with names, as JSON")
    options = parser.parse_args()
    root: Path = options.root.resolve()
    counts = ({} if options.static else walked(root)) | count(read_sources(root))
    print(markdown([["of", "count"], *figures(counts)], names=1))
    if options.json:
        options.json.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")


def walked(root: Path) -> Counts:
    found = walk(root)
    hops = {"hops": found.hops, "hops that lead on": found.leading}
    return {
        "walk": {name: [list(hop) for hop in sorted(some)] for name, some in hops.items()}
        | {"files": sorted(found.files)}
    }


def count(sources: Sequence[Source]) -> Counts:
    """Everything that needs no server."""
    arrows = module_arrows(sources)
    between = room_arrows(arrows)
    return {
        "folders": {folder: size for folder in FOLDERS if (size := size_of(sources, folder))["files"]},
        "loose files": {folder: loose_files(sources, folder) for folder in ("engine", "server", "schemas")},
        "longest": {"file": asdict(longest_file(sources)), "function": asdict(longest_function(sources))},
        "rooms": {
            "rooms": rooms(sources),
            "arrows between rooms": sorted(between),
            "cycles of modules": cycles(arrows),
            "cycles of rooms": cycles(between),
        },
        "rules": rules(sources, refusals(sources)),
        "defaults": default_sites(
            sources, declared(sources, "GenerationFields", "DeclaredFields"), ("engine", "server")
        ),
    }


def size_of(sources: Sequence[Source], folder: str) -> dict[str, int]:
    return {"files": sum(source.folder == folder for source in sources), "lines": num_lines(sources, folder)}


def rules(sources: Sequence[Source], found: Sequence[Refusal]) -> Counts:
    fields = declared(sources, "GenerationFields", "DeclaredFields", "GenerateRequest")
    return {
        "standing twice": standing_twice(found),
        "refused by the engine": refused_by_engine(found, fields),
        "places unread": sorted({refusal.place for refusal in found if not refusal.is_read}),
    }


def figures(counts: Counts) -> list[list[str]]:
    """The lines of the table, without its heads."""
    walk, rules, parts = counts.get("walk", {}), counts["rules"], counts["rooms"]
    sizes = [[f"lines of {name}/", f"{of['lines']} in {of['files']} files"] for name, of in counts["folders"].items()]
    return [
        *([f"{what} of a plain request", str(len(found))] for what, found in walk.items()),
        *([f"loose files in {folder}/", str(len(names))] for folder, names in counts["loose files"].items()),
        ["rules that stand in two modules", str(len(rules["standing twice"]))],
        ["fields that the engine refuses", str(len(rules["refused by the engine"]))],
        ["refusals whose field or code is not read", str(len(rules["places unread"]))],
        ["defaults given once more", str(len(counts["defaults"]))],
        *([f"longest {what}", f"{one['num_lines']} lines, {one['what']}"] for what, one in counts["longest"].items()),
        *sizes,
        *([what, str(len(found))] for what, found in parts.items()),
    ]


if __name__ == "__main__":
    main()
