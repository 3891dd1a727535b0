"""The runs of a comparison on disk, a line each, so that one that was cut off goes on where it ended."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine.limits import Limits
from benchmarks.report.figures import Figures


class OtherSettings(Exception):
    """A ledger holds runs that do not compare with those that are asked for."""


@dataclass(frozen=True, slots=True)
class Run:
    """One load on one side. limits: of the machine, just before this load was put to the sides.

    peak_mib: the server's most memory so far. client_cpu, other_cpu: cores busy for the client, and for neither the
    client nor the server: a run during which much went on elsewhere tells little.
    heads: the first tokens of each answer, to compare.
    """

    round: int
    load: str
    side: str
    figures: Figures
    limits: Limits
    peak_mib: float
    client_cpu: float
    other_cpu: float
    heads: list[list[int]]


@dataclass(slots=True)
class Ledger:
    """facts: what decides the figures. left_out: what the last command could not run, with the reason."""

    path: Path
    facts: dict[str, Any]
    runs: list[Run]
    left_out: dict[str, str]

    @classmethod
    def opened(cls, path: Path, facts: dict[str, Any], is_fresh: bool) -> "Ledger":
        """Sides may be added to those that ran. Raises OtherSettings where the file holds runs with other facts."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = cls.read(path) if path.exists() and not is_fresh else cls(path, facts, [], {})
        sides = found.facts["sides"] | facts["sides"]
        changed = [name for name in facts if name != "sides" and found.facts.get(name) != facts[name]]
        changed += [name for name, side in found.facts["sides"].items() if sides[name] != side]
        if changed:
            raise OtherSettings(f"{path} holds runs with another {' and '.join(changed)}; --fresh begins anew")
        found.facts, found.left_out = facts | {"sides": sides}, {}
        found.write()
        return found

    @classmethod
    def read(cls, path: Path) -> "Ledger":
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        facts = json.loads(head)
        left_out = facts.pop("left_out")
        return cls(path, facts, [to_run(json.loads(line)) for line in lines], left_out)

    def write(self) -> None:
        head = self.facts | {"left_out": self.left_out}
        lines = [json.dumps(head), *(json.dumps(asdict(run)) for run in self.runs)]
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def leave_out(self, what: str, reason: str) -> None:
        self.left_out[what] = reason
        self.write()

    def add(self, run: Run) -> None:
        self.runs.append(run)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(run)) + "\n")

    def has(self, number: int, load: str, side: str) -> bool:
        return any((run.round, run.load, run.side) == (number, load, side) for run in self.runs)

    def of(self, load: str, side: str) -> list[Run]:
        return [run for run in self.runs if (run.load, run.side) == (load, side)]


def to_run(entry: dict[str, Any]) -> Run:
    return Run(**entry | {"figures": Figures(**entry["figures"]), "limits": Limits(**entry["limits"])})


def sides_of(runs: Sequence[Run]) -> list[str]:
    """In the order in which they first ran."""
    return list(dict.fromkeys(run.side for run in runs))
