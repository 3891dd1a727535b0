"""Notes which of the product's functions a process enters from another file while it is told to.

A copy of this file called `sitecustomize.py` in front of the path makes every Python process load it as it starts, the
engine's too; so it imports the standard library alone. A process that is told where the product is and where notes go,
by the two variables below, says that it listens with an empty file of its number. SIGUSR1 starts the notes anew;
SIGUSR2 ends them and writes them beside that file, to `<pid>.json`. The main thread is watched from the first signal
on, all others from their beginning.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

ROOT, NOTES = "HOUSE_ROOT", "HOUSE_NOTES"
FOLDERS = ("config", "schemas", "client", "engine", "server", "training")
OUTSIDE = "outside"
"""Who calls what begins in a thread, where no file of the product is below."""


class Tracer:
    """entered: files. hops: the file that calls, the file that is called, and the function there.

    leading: such functions, with their files, from which the walk went on into another file.
    """

    def __init__(self, root: Path, notes: Path) -> None:
        self._root, self._notes = root.resolve(), notes
        self._files: dict[str, str | None] = {}
        self._is_on = False
        self.entered: set[str] = set()
        self.hops: set[tuple[str, str, str]] = set()
        self.leading: set[tuple[str, str]] = set()

    def install(self) -> None:
        threading.setprofile(self.note)
        signal.signal(signal.SIGUSR1, lambda number, frame: self.begin())
        signal.signal(signal.SIGUSR2, lambda number, frame: self.end())
        (self._notes / f"{os.getpid()}.listens").touch()

    def begin(self) -> None:
        self.entered, self.hops, self.leading, self._is_on = set(), set(), set(), True
        sys.setprofile(self.note)
        (self._notes / f"{os.getpid()}.begun").touch()

    def end(self) -> None:
        self._is_on = False
        sys.setprofile(None)
        target = self._notes / f"{os.getpid()}.json"
        written = target.with_suffix(".part")
        found = {"entered": sorted(self.entered), "hops": sorted(self.hops), "leading": sorted(self.leading)}
        written.write_text(json.dumps(found), encoding="utf-8")
        written.rename(target)

    def note(self, frame: FrameType, event: str, argument: Any) -> None:  # Any: as sys.setprofile has it
        if not self._is_on or event != "call" or (file := self.product_file(frame)) is None:
            return
        self.entered.add(file)
        below = self.below(frame)
        caller = OUTSIDE if below is None else self.product_file(below) or OUTSIDE
        if caller != file:
            self.hops.add((caller, file, frame.f_code.co_qualname))
            if below is not None:
                self.leading.add((caller, self.entrance(below).f_code.co_qualname))

    def below(self, frame: FrameType) -> FrameType | None:
        """The nearest frame of the product below; libraries between the two are passed over."""
        below = frame.f_back
        while below is not None and self.product_file(below) is None:
            below = below.f_back
        return below

    def entrance(self, frame: FrameType) -> FrameType:
        """Where the file of a frame was entered: the lowest frame on the way down through this file alone."""
        below = self.below(frame)
        while below is not None and self.product_file(below) == self.product_file(frame):
            frame, below = below, self.below(below)
        return frame

    def product_file(self, frame: FrameType) -> str | None:
        """The path from the root, also of a file found through a link; None for all that is not the product."""
        name = frame.f_code.co_filename
        if name not in self._files:
            path = Path(os.path.realpath(name))
            inside = path.relative_to(self._root) if path.is_relative_to(self._root) else None
            self._files[name] = inside.as_posix() if inside and inside.parts[0] in FOLDERS else None
        return self._files[name]


if ROOT in os.environ and NOTES in os.environ:
    Tracer(Path(os.environ[ROOT]), Path(os.environ[NOTES])).install()
