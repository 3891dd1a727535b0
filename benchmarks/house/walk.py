"""The walk of one plain request through the house, noted in both processes while it happens.

A hop is a call that leaves one file of the product for another one: the file that calls, the file that is called and
the function there, each such three counted once. Libraries between the two are passed over, a coroutine that goes on
counts like a call, and what a thread or the event loop begins is called by whatever product file is below it, or by
none. Accessors count like all else, so there are more hops than a reader would follow by hand: those are the hops that
lead on, into a function from which the walk goes on into yet another file.

The server runs the built-in model. Some requests warm it up, over the connection that the others use too; then each of
several greedy requests is noted by itself, and a pause in which nobody asks. The walk is what most of these requests
did and the pause did not, so that it holds neither heartbeats nor what depends on when a request came.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.house import tracer
from benchmarks.serving.processes import Running, family, serve_module, started

WARM_UPS = ("The tide came in", "Nobody had seen the lamp", "An old map lay on the table")
PROMPTS = (
    "The keeper climbed the stairs",
    "A letter arrived on Tuesday",
    "Snow fell on the harbour",
    "Two boats were tied to the pier",
    "She counted the windows again",
)
NEW_TOKENS = 8
START_S, NOTE_S = 120.0, 30.0
PAUSE_S, POLL_S = 3.0, 0.01

Item = TypeVar("Item")


class NotNoted(Exception):
    """A process did not begin or end its notes, or a request was refused."""


@dataclass(frozen=True, slots=True)
class Walk:
    """files: those entered. hops, leading: as the head of this module defines them."""

    files: set[str]
    hops: set[tuple[str, ...]]
    leading: set[tuple[str, ...]]


def walk(root: Path) -> Walk:
    """Raises NotStarted, NotNoted."""
    with tempfile.TemporaryDirectory() as directory:
        notes = Path(directory)
        package = "beamhouse." if (root / "beamhouse").exists() else ""
        command = [sys.executable, "-m", *serve_module({}, package)]
        with (
            started(command, watched(root, notes), "/health/ready", START_S, notes / "log") as running,
            closing(HTTPConnection("127.0.0.1", running.port, timeout=NOTE_S)) as connection,
        ):
            return walk_of(running, connection, notes)


def watched(root: Path, notes: Path) -> dict[str, str]:
    """The environment in which the processes of a checkout can be told to note where they go."""
    shutil.copy(tracer.__file__, notes / "sitecustomize.py")
    # Without the working directory on the path, the root alone says which checkout is imported.
    paths = {"PYTHONPATH": f"{notes}{os.pathsep}{root}", "PYTHONSAFEPATH": "1"}
    return paths | {tracer.ROOT: str(root), tracer.NOTES: str(notes)}


def walk_of(running: Running, connection: HTTPConnection, notes: Path) -> Walk:
    for prompt in WARM_UPS:
        ask(connection, prompt)
    pids = [pid for pid in family(running.pid) if (notes / f"{pid}.listens").exists()]
    asked = [noted(notes, pids, partial(ask, connection, prompt)) for prompt in PROMPTS]
    paused = noted(notes, pids, partial(time.sleep, PAUSE_S))
    hops, leading = (
        usual([getattr(found, which) for found in asked]) - getattr(paused, which) for which in ("hops", "leading")
    )
    return Walk(usual([found.files for found in asked]) & {file for _, file, _ in hops}, hops, leading)


def usual(found: Sequence[AbstractSet[Item]]) -> set[Item]:
    """What more than half of them hold."""
    times = Counter(item for items in found for item in items)
    return {item for item, count in times.items() if 2 * count > len(found)}


def ask(connection: HTTPConnection, prompt: str) -> None:
    config = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    body = json.dumps({"inputs": prompt, "generation_config": config})
    connection.request("POST", "/generate", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise NotNoted(f"status {response.status}: {answer.decode(errors='replace')}")


def noted(notes: Path, pids: Sequence[int], act: Callable[[], None]) -> Walk:
    """What these processes do while something is done."""
    signalled(notes, pids, signal.SIGUSR1, "begun")
    act()
    signalled(notes, pids, signal.SIGUSR2, "json")
    found: list[dict[str, Any]] = [json.loads((notes / f"{pid}.json").read_text(encoding="utf-8")) for pid in pids]
    hops = {tuple(hop) for one in found for hop in one["hops"]}
    places = {tuple(place) for one in found for place in one["leading"]}
    return Walk({file for one in found for file in one["entered"]}, hops, {hop for hop in hops if hop[1:] in places})


def signalled(notes: Path, pids: Sequence[int], number: signal.Signals, answer: str) -> None:
    """Tell every process and wait until each has written that it heard."""
    ahead = {pid: notes / f"{pid}.{answer}" for pid in pids}
    for pid, path in ahead.items():
        path.unlink(missing_ok=True)
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    end = time.monotonic() + NOTE_S
    while not all(path.exists() for path in ahead.values()):
        if time.monotonic() > end:
            raise NotNoted(f"no answer to {number.name}: {[pid for pid, path in ahead.items() if not path.exists()]}")
        time.sleep(POLL_S)
