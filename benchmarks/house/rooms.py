"""Which rooms the house has, and who looks into whose.

A room is what one sees on opening a folder: in `engine/`, `server/` and `schemas/` each file and each package at the
top; the other folders are a room each. An arrow leads from a room to another one that it imports from.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from benchmarks.house.sources import Source, imported

PARTED = ("engine", "server", "schemas")

Arrow = tuple[str, str]


def rooms(sources: Sequence[Source]) -> list[str]:
    return sorted({room for source in sources if (room := room_of(source.module))})


def room_of(module: str) -> str | None:
    """None for the first file of a folder that is parted, which is no room."""
    folder, _, inside = module.partition(".")
    if folder not in PARTED:
        return folder
    return f"{folder}.{inside.partition('.')[0]}" if inside else None


def module_arrows(sources: Sequence[Source]) -> set[Arrow]:
    known = {source.module for source in sources}
    return {
        (source.module, target) for source in sources for target in targets(source, known) if target != source.module
    }


def targets(source: Source, known: AbstractSet[str]) -> Iterator[str]:
    """The product's modules that a file imports."""
    for module, name in imported(source):
        submodule = f"{module}.{name}"
        if submodule in known or module in known:
            yield submodule if submodule in known else module


def room_arrows(arrows: AbstractSet[Arrow]) -> set[Arrow]:
    pairs = {(room_of(source), room_of(target)) for source, target in arrows}
    return {(source, target) for source, target in pairs if source and target and source != target}


def cycles(arrows: AbstractSet[Arrow]) -> list[list[str]]:
    """The groups in which everyone reaches everyone."""
    following: dict[str, set[str]] = {}
    for source, target in arrows:
        following.setdefault(source, set()).add(target)
    reached = {name: reach(following, name) for name in following}
    groups = {
        tuple(sorted(other for other in found if name in reached.get(other, ())))
        for name, found in reached.items()
        if name in found
    }
    return sorted(map(list, groups))


def reach(following: Mapping[str, AbstractSet[str]], name: str) -> set[str]:
    """Whom one gets to from here, in one step or more."""
    found: set[str] = set()
    ahead = set(following[name])
    while ahead:
        found |= ahead
        ahead = {target for other in ahead for target in following.get(other, ())} - found
    return found
