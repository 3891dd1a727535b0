"""This server and its peers under the same loads in one run, over HTTP.

    python -m benchmarks.versus [--model llama|small|builtin|DIRECTORY] [--sides NAME ...] [--loads NAME ...]

In each round every load is put to all sides in turn (A B C, A B C, ...), so that a machine that slows down slows all;
printed are medians of the rounds. Each run is kept at once: the same command goes on where it was cut off.
"""

import argparse
import gc
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from pathlib import Path

from benchmarks.cases.loads import LOADS, Load, burst, word_ids
from benchmarks.machine.limits import Limits, measured_apart
from benchmarks.peers.catalog import SIDES, Choice, NotInstalled, Side
from benchmarks.peers.facts import describe
from benchmarks.peers.formats import NotWritten, chosen_model
from benchmarks.report.figures import Figures
from benchmarks.report.ledger import Ledger, OtherSettings, Run
from benchmarks.report.options import positive, setting
from benchmarks.report.peer_tables import report
from benchmarks.serving.processes import NotStarted, Running, busy_s, started
from benchmarks.serving.wire import BadAnswer, collect, drive, read

HEAD_TOKENS = 8
WARM_UP = burst("warm-up", "", 8, 64, 8)


@dataclass(frozen=True, slots=True)
class VersusOptions:
    """What the command line asks for. for_s: begin no run later than so many seconds after the start."""

    model: str
    sides: list[str]
    loads: list[str]
    rounds: int
    seed: int
    threads: int
    set: dict[str, str]
    peers: Path
    out: Path | None
    fresh: bool
    for_s: float
    wait_s: float


def main() -> None:
    options, start_s = read_options(), time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # servers are stopped on the way out
    try:
        ledger = run(options)
    except (OtherSettings, NotWritten, BadAnswer) as error:
        sys.exit(f"benchmarks.versus: {error}")
    print(report(ledger))
    if time.monotonic() - start_s > options.for_s:
        sys.exit("benchmarks.versus: the time is up; the same command goes on")


def read_options(arguments: Sequence[str] | None = None) -> VersusOptions:
    loads = [load.name for load in LOADS]
    parser = argparse.ArgumentParser(prog="benchmarks.versus", description="This server beside its peers.")
    parser.add_argument("--model", default="llama", help="llama (default) or small, generated; builtin; a directory")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), metavar="NAME")
    parser.add_argument("--loads", nargs="+", choices=loads, default=loads, metavar="NAME", help=", ".join(loads))
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the prompts and arrivals")
    parser.add_argument("--threads", type=positive, default=2, help="of each side")
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="KEY=VALUE", help="more for this server")
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="where `make peers` put them")
    parser.add_argument("--out", type=Path, help="where the runs are kept; PEERS/runs/MODEL.jsonl")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that are kept")
    parser.add_argument("--for-s", type=float, default=float("inf"), help="begin no run later than this")
    parser.add_argument("--wait-s", type=float, default=180.0, help="how long a server may take to get ready")
    chosen = vars(parser.parse_args(arguments))
    return VersusOptions(**chosen | {"set": dict(chosen["set"]), "peers": chosen["peers"].resolve()})


def run(options: VersusOptions) -> Ledger:
    """Every run that the ledger lacks."""
    model = chosen_model(options.model, options.peers)
    choice = Choice(model, options.peers, options.threads, options.set)
    sides, left_out = prepared(options.sides, choice)
    path = options.out or options.peers / "runs" / f"{Path(options.model).name}.jsonl"
    ledger = Ledger.opened(path, describe(choice, sides, options.seed), options.fresh)
    for name, reason in left_out.items():
        ledger.leave_out(name, reason)
    words, limit = word_ids(model.source), int(choice.config["max_position_embeddings"])
    loads = [load for load in LOADS if load.name in options.loads and load.longest(options.seed, words) <= limit]
    with ExitStack() as stack:
        bench = Bench(ledger, sides, options, str(choice.config["dtype"]), words, stack)
        for number in range(1, options.rounds + 1):
            for load in loads:
                bench.put(load, number)
    return ledger


def prepared(names: Sequence[str], choice: Choice) -> tuple[list[Side], dict[str, str]]:
    """Those that can be started, and why the others cannot."""
    sides, left_out = [], {}
    for name in names:
        try:
            sides.append(SIDES[name](choice))
        except (NotInstalled, NotWritten) as error:
            left_out[name] = str(error)
    return sides, left_out


def failed_name(side: Side, load: Load) -> str:
    """Under which the ledger tells that a side could not do a load; it goes on with the others."""
    return f"{side.name}, {load.title}"


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds that went by, and those that processors were busy: for all, for a server, and for this process."""

    real_s: float
    machine_s: float
    server_s: float
    client_s: float

    @classmethod
    def now(cls, server: Running) -> "Clocks":
        return cls(time.perf_counter(), busy_s(), server.cpu_s(), time.process_time())

    def since(self, earlier: "Clocks") -> "Clocks":
        return Clocks(*(late - early for late, early in zip(astuple(self), astuple(earlier), strict=True)))


@dataclass(slots=True)
class Bench:
    """Starts each server when it is first asked, and keeps it until the end; one at a time is under load."""

    ledger: Ledger
    sides: list[Side]
    options: VersusOptions
    dtype: str
    words: list[int]
    stack: ExitStack
    running: dict[str, Running] = field(default_factory=dict)
    start_s: float = field(default_factory=time.monotonic)

    def put(self, load: Load, number: int) -> None:
        """Puts the load to each side that lacks this round of it."""
        limits: Limits | None = None
        for side in self.sides:
            if not self.lacks(side, load, number) or not (server := self.server(side)):
                continue
            limits = limits or measured_apart(self.options.threads, self.dtype)
            try:
                measured = self.measured(side, server, load, number, limits)
            except BadAnswer as error:
                self.ledger.leave_out(failed_name(side, load), str(error))
                continue
            self.ledger.add(measured)
            told = f"{measured.figures.tokens_per_s:.1f} tokens/s, {measured.other_cpu:.1f} cores busy elsewhere"
            print(f"round {number}: {load.title}, {side.name}: {told}", file=sys.stderr)

    def lacks(self, side: Side, load: Load, number: int) -> bool:
        return (
            (side.loads is None or load.name in side.loads)
            and number <= min(load.max_rounds or number, side.max_rounds or number)
            and not {side.name, failed_name(side, load)} & self.ledger.left_out.keys()
            and not self.ledger.has(number, load.name, side.name)
            and time.monotonic() - self.start_s < self.options.for_s
        )

    def server(self, side: Side) -> Running | None:
        """Warmed up; None where it does not start, which the ledger tells."""
        if side.name not in self.running:
            logs = self.options.peers / "logs"
            logs.mkdir(parents=True, exist_ok=True)
            log = logs / f"{side.name.replace(' ', '-')}.log"
            server = started(side.command, side.environment, side.ready, self.options.wait_s, log)
            try:
                self.running[side.name] = self.stack.enter_context(server)
                drive(self.running[side.name].port, side.dialect, WARM_UP.lanes(self.options.seed, 0, self.words))
            except (NotStarted, BadAnswer, OSError) as error:
                self.ledger.leave_out(side.name, str(error))
                return None
        return self.running[side.name]

    def measured(self, side: Side, server: Running, load: Load, number: int, limits: Limits) -> Run:
        lanes = load.lanes(self.options.seed, number, self.words)
        gc.collect()
        before = Clocks.now(server)
        raws = collect(server.port, side.dialect, lanes)
        spent = Clocks.now(server).since(before)
        answers = [read(raw, side.dialect) for raw in raws]
        return Run(
            number,
            load.name,
            side.name,
            Figures.of(answers, len(lanes)),
            limits,
            peak_mib=server.peak_mib(),
            client_cpu=spent.client_s / spent.real_s,
            other_cpu=max(0.0, spent.machine_s - spent.server_s - spent.client_s) / spent.real_s,
            heads=[answer.token_ids[:HEAD_TOKENS] for answer in answers],
        )


if __name__ == "__main__":
    main()
