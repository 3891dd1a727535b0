"""What is kept on requests and sequences by those who work on them, each with the type its owner gave it."""

from typing import Any, Generic, TypeVar

Kept = TypeVar("Kept")


class Slot(Generic[Kept]):
    """A place in a memory that only its owner knows; `Slot[int]("count")` holds an int. name: for people."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"Slot({self._name!r})"


class Memory:
    """What lies in some slots. known: what it begins with."""

    __slots__ = ("_kept",)

    def __init__(self, known: "Memory | None" = None) -> None:
        # Any: of each slot its own type, as the methods below hold.
        self._kept: dict[Slot[Any], Any] = {} if known is None else known._kept.copy()

    def __getitem__(self, slot: Slot[Kept]) -> Kept:
        """Raises KeyError where nothing lies."""
        kept: Kept = self._kept[slot]
        return kept

    def __setitem__(self, slot: Slot[Kept], kept: Kept) -> None:
        self._kept[slot] = kept

    def get(self, slot: Slot[Kept]) -> Kept | None:
        return self._kept.get(slot)

    def fork(self) -> "Memory":
        """The same things in a memory of its own: what lies in a slot is replaced from there on, never changed."""
        return Memory(self)
