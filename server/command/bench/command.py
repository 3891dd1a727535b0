"""What `beamhouse bench` does: a load for each door and mode, in turn, and its figures as a table, JSON, a picture."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from beamhouse.server.command.bench import picture
from beamhouse.server.command.bench.doors import DOORS, Door, Fields
from beamhouse.server.command.bench.figures import Figures, Spread
from beamhouse.server.command.bench.load import Extent, run
from beamhouse.server.command.bench.modes import MODES, NoDraft, fields_of
from beamhouse.server.command.bench.prompts import words
from beamhouse.server.command.bench.wire import Target
from beamhouse.server.command.failures import CommandFailed
from beamhouse.server.command.tables import print_table

EVERY = "all"
HEADS = ("mode", "failed", "tokens/s", "first, ms", "between, ms")
WARM_UP_TOKENS = 2


@dataclass(frozen=True, slots=True)
class Options:
    """modes: names of modes, or NAME=JSON with fields of `POST /generate`."""

    url: str
    doors: Sequence[str]
    modes: Sequence[str]
    extent: Extent
    prompt_tokens: int
    new_tokens: int
    seed: int
    assistant_model: str | None
    picture: Path | None


@dataclass(frozen=True, slots=True)
class Case:
    """One door in one mode. own: fields that were given; None: those of the mode of this name."""

    door: Door
    mode: str
    own: Fields | None = None

    def body(self, options: Options, number: int) -> Fields:
        """No prompt comes twice, so that no cache of prefixes answers. Raises CommandFailed."""
        draw = Random(f"{options.seed} {self.door.name} {self.mode} {number}")
        prompt = words(draw, options.prompt_tokens)
        return self.door.body(prompt, options.new_tokens, self.fields(options, draw))

    def fields(self, options: Options, draw: Random) -> Fields:
        if self.own is not None:
            return self.own
        mode = next(mode for mode in MODES if mode.name == self.mode)
        try:
            return fields_of(mode, draw, options.prompt_tokens, options.assistant_model)
        except NoDraft as error:
            raise CommandFailed(str(error)) from error


def extent_of(concurrency: int, requests: int | None, seconds: float | None, timeout_s: float) -> Extent:
    """Four requests a stream where nothing is said. Raises CommandFailed."""
    if requests is not None and seconds is not None:
        raise CommandFailed("--requests and --seconds exclude each other; give one of them")
    number = 4 * concurrency if requests is None and seconds is None else requests
    return Extent(concurrency, number, seconds, timeout_s)


def bench(options: Options) -> list[Figures]:
    """A row for each door and mode, said on stderr as it comes. Raises CommandFailed."""
    try:
        target = Target.of(options.url)
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    cases = [case for door in doors_of(options.doors) for case in cases_of(door, options)]
    for case in cases:
        case.body(options, 0)
    if options.picture is not None:
        picture.check(options.picture)
    rows = []
    for case in cases:
        print(f"{case.door.name} {case.mode} …", end="", file=sys.stderr, flush=True)
        rows.append(measure(target, case, options))
        print(f" {rows[-1].tokens_per_s:.0f} tokens/s", file=sys.stderr)
    if options.picture is not None:
        picture.draw(rows, title_of(options), options.picture)
    return rows


def measure(target: Target, case: Case, options: Options) -> Figures:
    """One short request first, which is not counted: it may compile what the others use."""
    first = replace(options, new_tokens=WARM_UP_TOKENS)
    alone = Extent(1, 1, None, options.extent.timeout_s)
    run(target, case.door, lambda _: case.body(first, -1), alone)
    answers = run(target, case.door, lambda number: case.body(options, number), options.extent)
    return Figures.of(case.door.name, case.mode, answers)


def doors_of(names: Sequence[str]) -> list[Door]:
    known = {door.name: door for door in DOORS}
    chosen = list(known) if EVERY in names else names
    if unknown := [name for name in chosen if name not in known]:
        raise CommandFailed(f"there is no door {unknown[0]}; known: {', '.join(known)}, {EVERY}")
    return [known[name] for name in chosen]


def cases_of(door: Door, options: Options) -> list[Case]:
    known = [mode.name for mode in MODES]
    cases: list[Case] = []
    for name in known if EVERY in options.modes else options.modes:
        mode, is_own, fields = name.partition("=")
        if not is_own and mode not in known:
            raise CommandFailed(f"there is no mode {mode}; known: {', '.join(known)}, {EVERY}, NAME=JSON")
        cases.append(Case(door, mode, read_fields(mode, fields) if is_own else None))
    return cases


def read_fields(mode: str, text: str) -> Fields:
    try:
        fields: Any = json.loads(text)
    except ValueError as error:
        raise CommandFailed(f"the fields of {mode} are not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise CommandFailed(f"the fields of {mode} are no object")
    return fields


def title_of(options: Options) -> str:
    size = f"{options.prompt_tokens} in / {options.new_tokens} out"
    return f"{options.url}: {options.extent.concurrency} streams at once, {size}"


def show(rows: Sequence[Figures]) -> None:
    """A table for each door, and why requests failed."""
    by_door = {row.door: [one for one in rows if one.door == row.door] for row in rows}
    for door, own in by_door.items():
        if len(by_door) > 1:
            print(f"{door}:")
        cells = [[row.mode, failed(row), f"{row.tokens_per_s:.1f}", told(row.first), told(row.between)] for row in own]
        print_table(HEADS, cells)
        for row in own:
            for reason, number in row.errors.items():
                print(f"{row.mode}: {number} failed: {reason}")
        print()
    print("first: until the first token, between: between two tokens, each p50 / p90 / p99")


def failed(row: Figures) -> str:
    return f"{sum(row.errors.values())}/{row.requests}"


def told(spread: Spread | None) -> str:
    return "" if spread is None else " / ".join(figure(value) for value in asdict(spread).values())


def figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def as_json(options: Options, rows: Sequence[Figures]) -> str:
    """The rows and what decides them."""
    asked = {name: value for name, value in asdict(options).items() if name not in ("doors", "modes", "picture")}
    return json.dumps({"options": asked, "rows": [asdict(row) for row in rows]}, indent=2, ensure_ascii=False)
