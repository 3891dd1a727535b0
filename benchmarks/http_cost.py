"""What the HTTP process costs: its CPU time per streamed token, and the tokens/s that are left of the engine's.

    python -m benchmarks.http_cost [--streams 1 8 32] [--step-ms 20 0] [--rounds 3] [--json FILE]
    python -m benchmarks.http_cost --doors [NAME ...] [--streams 32] [--rounds 7]

First against an engine that gives tokens at a set pace and does nothing else, with and without what a request can ask
for beside its tokens. Then the built-in model, behind HTTP and alone in this process, alternating; the server has its
usual number of threads, and so has the engine alone. Last, what both processes burn while nobody asks.

With `--doors`, what the same streams cost at each of the doors: all of them in every round, in turns, each as a share
of the native one of the same round.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tokenizers import Tokenizer

from beamhouse.config.settings import load
from beamhouse.engine.build import build
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.loading.files import BUILTIN_FILES
from beamhouse.engine.loop.engine import Engine
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.server.command.bench.doors import NATIVE, Door
from benchmarks.cases.loads import Ask, Lanes
from benchmarks.machine.facts import cpu_name
from benchmarks.report.options import positive
from benchmarks.report.tables import markdown, show, write_json
from benchmarks.serving.dialects import Native
from benchmarks.serving.doors import MEASURED, AtDoor
from benchmarks.serving.processes import Running, family, serve_module, started_module
from benchmarks.serving.wire import Dialect, drive

SETTLE_S = 0.02
WAIT_S = 60.0
IDLE_S = 5.0
FIRST_ID, NUM_IDS = 300, 3700
DETAILS: dict[str, dict[str, Any]] = {
    "text": {},
    "text, scores": {"outputs": {"transition_scores": True}},
    "text, scores, 5 likely": {"outputs": {"transition_scores": True, "top_n_tokens": 5}},
}


@dataclass(frozen=True, slots=True)
class Detailed:
    """The native dialect with more fields in the body."""

    more: dict[str, Any]
    path: str = Native.path

    def body(self, ask: Ask) -> dict[str, Any]:
        return Native().body(ask) | self.more

    def tokens(self, name: str, data: dict[str, Any]) -> list[int]:
        return Native().tokens(name, data)


@dataclass(frozen=True, slots=True)
class HttpCostOptions:
    """step_ms: paces of the fake engine, 0 for as fast as it can."""

    streams: list[int]
    step_ms: list[float]
    new_tokens: int
    prompt_tokens: int
    rounds: int
    seed: int
    doors: list[str] | None
    json: Path | None


@dataclass(frozen=True, slots=True)
class Cost:
    """us_per_token, ms_per_request: of the HTTP process. alone_tokens_per_s: of the engine without HTTP, or None."""

    engine: str
    details: str
    streams: int
    tokens_per_s: float
    us_per_token: float
    ms_per_request: float
    alone_tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class DoorCost:
    """Medians over the rounds, and of the shares of the native door of the same round.

    share, cpu_share: of tokens/s, and of the CPU time that the HTTP process takes for a token.
    """

    door: str
    streams: int
    tokens_per_s: float
    us_per_token: float
    share: float
    cpu_share: float


def main() -> None:
    options = read_options()
    if options.doors is not None:
        show_doors(
            options, [door for door in MEASURED if not options.doors or door is NATIVE or door.name in options.doors]
        )
    else:
        show_http(options)


def show_http(options: HttpCostOptions) -> None:
    costs: list[Cost] = []
    for step_ms in options.step_ms:
        pace = f"{step_ms:g} ms a step" if step_ms else "as fast as it can"
        with started_module("benchmarks.fakes.server", "{port}", str(step_ms), wait_s=WAIT_S) as running:
            for details, more in DETAILS.items():
                costs += [
                    measure(options, running, f"fake, {pace}", details, n, Detailed(more)) for n in options.streams
                ]
    alone = engine_alone()
    with started_module(*serve_module({}), wait_s=WAIT_S) as running:
        costs += [compare(options, running, alone, n) for n in options.streams]
        idle = idle_shares(running)
    tell(options, {"CPU share at rest": idle}, table(costs), costs)


def show_doors(options: HttpCostOptions, doors: Sequence[Door]) -> None:
    with started_module(*serve_module({}), wait_s=WAIT_S) as running:
        costs = [cost for number in options.streams for cost in compare_doors(options, running, doors, number)]
    tell(options, {}, door_table(costs), costs)


def tell(options: HttpCostOptions, more: dict[str, Any], written: str, costs: Sequence[Cost | DoorCost]) -> None:
    facts = {"settings": options, "cpu": cpu_name(), **more}
    show(facts)
    print(written)
    if options.json:
        write_json(options.json, facts | {"settings": str(options)}, [asdict(cost) for cost in costs])


def read_options(arguments: Sequence[str] | None = None) -> HttpCostOptions:
    parser = argparse.ArgumentParser(prog="benchmarks.http_cost", description="What the HTTP process costs.")
    parser.add_argument("--streams", type=positive, nargs="+", default=[1, 8, 32], help="numbers of requests at once")
    parser.add_argument("--step-ms", type=float, nargs="+", default=[20.0, 0.0], help="paces of the fake engine")
    parser.add_argument("--new-tokens", type=positive, default=200)
    parser.add_argument("--prompt-tokens", type=positive, default=16)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the prompts, which are random tokens")
    names = [door.name for door in MEASURED]
    parser.add_argument("--doors", nargs="*", choices=names, help="only what these doors cost, or all of them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    return HttpCostOptions(**vars(parser.parse_args(arguments)))


def prompts(options: HttpCostOptions, num_streams: int, number: int) -> list[list[int]]:
    """Never the same twice, so that no cache of prefixes answers."""
    draw = random.Random(f"{options.seed} {num_streams} {number}")
    ids = range(FIRST_ID, FIRST_ID + NUM_IDS)
    return [draw.choices(ids, k=options.prompt_tokens) for _ in range(num_streams)]


def measure(
    options: HttpCostOptions, running: Running, engine: str, details: str, num_streams: int, dialect: Detailed
) -> Cost:
    """Medians over the rounds, after one that is not counted."""
    one_round(running, dialect, lanes(options, num_streams, 0, 8))
    rounds = [
        one_round(running, dialect, lanes(options, num_streams, number, options.new_tokens))
        for number in range(1, options.rounds + 1)
    ]
    _, per_request = one_round(running, dialect, lanes(options, num_streams, -1, 1))
    rates, costs = zip(*rounds, strict=True)
    return Cost(engine, details, num_streams, median(rates), median(costs) * 1e6, per_request * 1e3)


def compare(options: HttpCostOptions, running: Running, alone: Engine, num_streams: int) -> Cost:
    """The built-in model over HTTP and alone, on the same prompts, alternating."""
    pairs, costs = [], []
    for number in range(options.rounds + 1):
        rate, cost = one_round(running, Detailed({}), lanes(options, num_streams, number, options.new_tokens))
        pairs.append((rate, rate_alone(alone, prompts(options, num_streams, number), options.new_tokens)))
        costs.append(cost)
    _, per_request = one_round(running, Detailed({}), lanes(options, num_streams, -1, 1))
    served, own = (median(rates) for rates in zip(*pairs[1:], strict=True))
    return Cost("built-in", "text", num_streams, served, median(costs[1:]) * 1e6, per_request * 1e3, own)


def compare_doors(
    options: HttpCostOptions, running: Running, doors: Sequence[Door], num_streams: int
) -> list[DoorCost]:
    """Every door once in each round, on prompts of its own, another one first each time; round 0 does not count."""
    tokenizer = Tokenizer.from_file(str(BUILTIN_FILES / "tokenizer.json"))
    rounds: list[dict[str, tuple[float, float]]] = []
    for number in range(options.rounds + 1):
        found: dict[str, tuple[float, float]] = {}
        for place in range(len(doors)):
            index = (number + place) % len(doors)
            asked = lanes(options, num_streams, number * len(doors) + index, options.new_tokens)
            found[doors[index].name] = one_round(running, AtDoor(doors[index], tokenizer), asked)
        rounds.append(found)
    return [door_cost(door.name, num_streams, rounds[1:]) for door in doors]


def door_cost(name: str, num_streams: int, rounds: Sequence[Mapping[str, tuple[float, float]]]) -> DoorCost:
    """rounds: by door tokens/s, and the CPU seconds of the HTTP process for each token."""
    native = NATIVE.name
    rates, costs = zip(*(found[name] for found in rounds), strict=True)
    shares = [found[name][0] / found[native][0] for found in rounds]
    cpu_shares = [found[name][1] / found[native][1] for found in rounds]
    return DoorCost(name, num_streams, median(rates), median(costs) * 1e6, median(shares), median(cpu_shares))


def lanes(options: HttpCostOptions, num_streams: int, number: int, num_new: int) -> Lanes:
    return [[Ask(prompt, num_new)] for prompt in prompts(options, num_streams, number)]


def one_round(running: Running, dialect: Dialect, asked: Lanes) -> tuple[float, float]:
    """Tokens/s of all streams together, and the CPU seconds of the HTTP process for each token."""
    before = cpu_s(running.pid)
    answers = drive(running.port, dialect, asked)
    time.sleep(SETTLE_S)  # the server closes connections
    spent = cpu_s(running.pid) - before
    num_tokens = sum(len(answer.token_ids) for answer in answers)
    return num_tokens / max(answer.arrived_s[-1] for answer in answers), spent / num_tokens


def engine_alone() -> Engine:
    settings = load({})
    with tempfile.TemporaryDirectory() as directory:
        return build(settings.model, settings.engine, Path(directory), lambda stage, share: None).engine


def rate_alone(engine: Engine, asked: list[list[int]], num_new: int) -> float:
    start = time.perf_counter()
    for number, prompt in enumerate(asked):
        config = GenerationConfig(max_length=len(prompt) + num_new, min_new_tokens=num_new, do_sample=False)
        engine.submit(Submission(f"{number}", prompt, Resolved.of(config)))
    num_tokens = 0
    while engine.has_work:
        num_tokens += sum(len(tokens.token_ids) for one in engine.step().requests for tokens in one.tokens)
    return num_tokens / (time.perf_counter() - start)


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads, to the nanosecond, as clock_getcpuclockid(3) has it."""
    return time.clock_gettime(~pid << 3 | 2)


def idle_shares(running: Running) -> list[str]:
    """Of one core, for each process of a server that nobody asks anything."""
    pids = family(running.pid)
    before = [cpu_s(pid) for pid in pids]
    time.sleep(IDLE_S)
    return [f"{(cpu_s(pid) - earlier) / IDLE_S:.2%}" for pid, earlier in zip(pids, before, strict=True)]


def table(costs: Sequence[Cost]) -> str:
    heads = ["engine", "events with", "streams", "tokens/s", "engine alone", "share", "µs/token", "ms/request"]
    lines = [heads]
    for cost in costs:
        alone, share = "", ""
        if cost.alone_tokens_per_s is not None:
            alone, share = f"{cost.alone_tokens_per_s:.0f}", f"{cost.tokens_per_s / cost.alone_tokens_per_s:.1%}"
        figures = [f"{cost.tokens_per_s:.0f}", alone, share, f"{cost.us_per_token:.0f}", f"{cost.ms_per_request:.1f}"]
        lines.append([cost.engine, cost.details, str(cost.streams), *figures])
    return markdown(lines)


def door_table(costs: Sequence[DoorCost]) -> str:
    lines = [["door", "streams", "tokens/s", "of native", "µs/token", "of native"]]
    for cost in costs:
        figures = [f"{cost.tokens_per_s:.0f}", f"{cost.share:.1%}", f"{cost.us_per_token:.0f}", f"{cost.cpu_share:.2f}"]
        lines.append([cost.door, str(cost.streams), *figures])
    return markdown(lines)


if __name__ == "__main__":
    main()
