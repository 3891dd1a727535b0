"""Draws the rooms of the project as they are: who stands on whom, from the imports.

    python -m benchmarks.house.picture [--out docs/pictures/rooms.svg]

The words beside the names, and the order from left to right, are those of `docs/pictures/rooms.toml`. A room stands one
storey above the highest room that it imports; an arrow that follows from others is left out.
"""

import argparse
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

from benchmarks.house.rooms import module_arrows, room_arrows, rooms
from benchmarks.house.sources import read_sources

ROOT = Path(__file__).parents[2]
WORDS = ROOT / "docs" / "pictures" / "rooms.toml"
PICTURE = WORDS.with_suffix(".svg")
Arrows = Mapping[str, frozenset[str]]

WIDTH, HEIGHT, GAP, STOREY, MARGIN = 236, 40, 14, 66, 20  # pixels
MOST_LETTERS = 32  # that fit a room in any font
PANELS = (("server", "engine"), ("schemas", "config", "client"))
STYLE = (
    "text{font:12px Helvetica,Arial,sans-serif;fill:#1f2933}.name{font-weight:bold}.title{font-size:15px}"
    ".panel{fill:#f5f7fa;stroke:#cbd2d9}.room{fill:#fff;stroke:#52606d}.arrow{stroke:#829ab1;fill:none}"
)


@dataclass(frozen=True)
class Folder:
    """title: over its panel. words: for each room, in the order of the picture. arrows: to the rooms it imports."""

    title: str
    words: Mapping[str, str]
    arrows: Arrows

    @property
    def storeys(self) -> list[list[str]]:
        """The rooms by their height, the lowest first."""
        heights: dict[str, int] = {}
        for room in TopologicalSorter(self.arrows).static_order():
            heights[room] = max((heights[other] + 1 for other in self.arrows[room]), default=0)
        return [[room for room in self.words if heights[room] == height] for height in sorted({*heights.values()})]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its panel in pixels."""
        widest = max(map(len, self.storeys))
        return widest * (WIDTH + GAP) - GAP + 2 * MARGIN, len(self.storeys) * STOREY + 2 * MARGIN + 10


def read(folder: str, words: Mapping[str, str], between: Collection[tuple[str, str]], known: Collection[str]) -> Folder:
    """between: who imports from whom, of all rooms, which are `known`. Raises ValueError where words are wrong."""
    inside = {room.split(".")[-1]: frozenset[str]() for room in known if room.split(".")[0] == folder}
    if differing := inside.keys() ^ words.keys() - {"title"}:
        raise ValueError(f"{WORDS.name} and {folder}/ differ in {', '.join(sorted(differing))}")
    if long := [text for room, text in words.items() if room != "title" and len(text) > MOST_LETTERS]:
        raise ValueError(f"too long for a room: {', '.join(long)}")
    for room, to in between:
        if room.split(".")[0] == to.split(".")[0] == folder:
            inside[room.split(".")[-1]] |= {to.split(".")[-1]}
    return Folder(words["title"], {room: text for room, text in words.items() if room != "title"}, _reduced(inside))


def _reduced(arrows: Arrows) -> Arrows:
    """Without those that follow from others. Raises graphlib.CycleError where rooms stand on each other."""
    below: dict[str, frozenset[str]] = {}
    for room in TopologicalSorter(arrows).static_order():
        below[room] = arrows[room].union(*(below[other] for other in arrows[room]))
    return {room: others.difference(*(below[other] for other in others)) for room, others in arrows.items()}


def draw(folders: Mapping[str, Folder]) -> str:
    """The picture as SVG."""
    parts, top, width = [], MARGIN, 0
    for row in PANELS:
        left, height = MARGIN, max(folders[name].size[1] for name in row)
        for name in row:
            parts += _panel(folders[name], left, top, height)
            left += folders[name].size[0] + MARGIN
        top, width = top + height + MARGIN, max(width, left)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}">'
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    defs = f'<style>{STYLE}</style><defs>{tip}<path d="M0 0 8 4 0 8z" fill="#829ab1"/></marker></defs>'
    return "\n".join([head, defs, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def _panel(folder: Folder, left: int, top: int, height: int) -> list[str]:
    """A folder: its rooms storey upon storey, and the arrows behind them."""
    width = folder.size[0]
    places = {
        room: (left + (width - len(storey) * (WIDTH + GAP) + GAP) // 2 + column * (WIDTH + GAP), level)
        for number, storey in enumerate(folder.storeys)
        for column, room in enumerate(storey)
        for level in [top + height - MARGIN - HEIGHT - number * STOREY]
    }
    frame = f'<rect class="panel" x="{left}" y="{top}" width="{width}" height="{height}" rx="8"/>'
    title = f'<text class="title" x="{left + MARGIN}" y="{top + 24}">{escape(folder.title)}</text>'
    arrows = [
        f'<path class="arrow" marker-end="url(#tip)" d="M{places[room][0] + WIDTH // 2} {places[room][1] + HEIGHT}'
        f'L{places[to][0] + WIDTH // 2} {places[to][1]}"/>'
        for room in places
        for to in sorted(folder.arrows[room])
    ]
    return [frame, title, *arrows, *(_room(room, folder.words[room], *places[room]) for room in places)]


def _room(name: str, words: str, left: int, top: int) -> str:
    return (
        f'<rect class="room" x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<text class="name" x="{left + 8}" y="{top + 16}">{escape(name)}</text>'
        f'<text x="{left + 8}" y="{top + 32}">{escape(words)}</text>'
    )


def picture() -> str:
    """The picture of the rooms as they are now."""
    words = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    sources = [source for source in read_sources(ROOT) if not source.module.endswith("__main__")]
    between, known = room_arrows(module_arrows(sources)), rooms(sources)
    return draw({name: read(name, words[name], between, known) for row in PANELS for name in row})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=PICTURE)
    parser.parse_args().out.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
