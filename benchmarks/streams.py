"""Concurrent streams of the server beside `model.generate()` one request after another, on the same prompts.

    python -m benchmarks.streams [--model MODEL | --url URL --model MODEL] [--streams 1 8 32] [--json FILE]

Rounds of the two alternate (A B A B ...), so that a machine that slows down slows both; of each figure the median over
the rounds is printed. All requests of a round arrive together, so the time to a request's first token includes its wait
for the others.
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from benchmarks.library import generate_round, load_model
from benchmarks.measures import FIGURE_NAMES, Answer, Figures, Workload, draw_ids, num_equal
from benchmarks.options import add_common, positive
from benchmarks.reports import describe, markdown, show, write_json
from benchmarks.served import ServerFailed, serve_round, server_info, started_server
from config.settings import load
from config.sources import InvalidSettings
from engine.errors import EngineError
from engine.loading.files import find_model

Round = Callable[[Workload], list[Answer]]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. threads: 0 lets each side choose. device, dtype: as the server takes them."""

    model: str
    url: str | None
    streams: list[int]
    prompt_tokens: int
    new_tokens: int
    rounds: int
    seed: int
    threads: int
    dtype: str
    device: str
    wait_s: float
    json: Path | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians for one number of streams; num_equal of num_requests got the same tokens from both sides."""

    num_streams: int
    served: Figures
    library: Figures
    num_requests: int
    num_equal: int


def main() -> None:
    """What goes wrong with the model or the server is one line, not a traceback."""
    try:
        run(read_options())
    except (ServerFailed, EngineError, InvalidSettings, httpx.HTTPError) as error:
        sys.exit(f"benchmarks.streams: {error}")


def run(options: Options) -> None:
    settings = load({"model": options.model, "dtype": options.dtype, "device": options.device})
    path = find_model(settings.model, lambda stage, share: None)
    server = {"model": options.model, "dtype": options.dtype, "device": options.device}
    server |= {"num_threads": str(options.threads)} if options.threads else {}
    with nullcontext(options.url) if options.url else started_server(server, options.wait_s) as address:
        info = server_info(address)
        device = info["model"]["device"] if options.device == "auto" else options.device
        model = load_model(path, options.dtype, device, options.threads)
        facts = describe(options, info)
        show(facts)
        compared = [
            compare(
                num_streams,
                workloads(options, num_streams, info["model"]["vocab_size"]),
                served=lambda workload: serve_round(address, workload),
                library=lambda workload: generate_round(model, workload),
            )
            for num_streams in options.streams
        ]
    print(table(compared))
    if options.json:
        write_json(options.json, facts, [asdict(comparison) for comparison in compared])


def read_options(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(prog="benchmarks.streams", description="Streams beside model.generate().")
    parser.add_argument("--url", help="a running server of that model; by default one is started")
    parser.add_argument("--streams", type=positive, nargs="+", default=[1, 8, 32], help="numbers of requests at once")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    add_common(parser, device="auto", new_tokens=64, threads=0)
    return Options(**vars(parser.parse_args(arguments)))


def workloads(options: Options, num_streams: int, vocab_size: int) -> list[Workload]:
    """One for warming up and one per round. No prompt comes twice, so that no cache of prefixes answers."""
    draw = random.Random(f"{options.seed} {num_streams}")

    def prompt() -> list[int]:
        return draw_ids(draw, options.prompt_tokens, vocab_size)

    return [Workload([prompt() for _ in range(num_streams)], options.new_tokens) for _ in range(options.rounds + 1)]


def compare(num_streams: int, loads: list[Workload], served: Round, library: Round) -> Comparison:
    warm_up, *rounds = loads
    served(warm_up)
    library(Workload(warm_up.prompts[:1], warm_up.num_new))
    pairs = [(served(workload), library(workload)) for workload in rounds]
    return Comparison(
        num_streams,
        Figures.median_of(Figures.of_round(ours) for ours, _ in pairs),
        Figures.median_of(Figures.of_round(theirs) for _, theirs in pairs),
        num_streams * len(rounds),
        sum(num_equal(ours, theirs) for ours, theirs in pairs),
    )


def table(compared: Sequence[Comparison]) -> str:
    """A Markdown table: three rows per number of streams, and how many answers were the same."""
    times = ["first p50", "first p99", "between p50", "between p99"]
    lines = [["streams", "side", "tokens/s", *times, "same tokens"]]
    for row in compared:
        same = f"{row.num_equal}/{row.num_requests}"
        ratios = [f"{ratio:.2f} x" for ratio in row.served.over(row.library)]
        lines.append([str(row.num_streams), "server", *cells(row.served), same])
        lines.append(["", "generate()", *cells(row.library), ""])
        lines.append(["", "ratio", *ratios, ""])
    return markdown(lines)


def cells(figures: Figures) -> list[str]:
    rate, *times = (getattr(figures, name) for name in FIGURE_NAMES)
    return [f"{rate:.1f}", *(f"{time:.1f} ms" for time in times)]


if __name__ == "__main__":
    main()
