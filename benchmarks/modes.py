"""Every decoding mode of the server beside `model.generate()`, one request alone and several at once.

    python -m benchmarks.modes [--modes MODE ...] [--requests 1 8] [--legacy-python PATH] [--json FILE]

The server gets all requests of a round at the same moment over HTTP, as plain requests; `generate()` gets them one
after another and, where the mode allows, also as one batch. Both compute in the same type. Rounds of the two alternate
(A B A B ...); printed is the median of the rounds, in tokens of the returned sequences per second. Four modes are in
transformers 4.x alone: `--legacy-python` names an interpreter that has one (4.45.2 with torch), else only the server
is measured.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import httpx

from beamhouse.config.settings import load
from beamhouse.config.sources import InvalidSettings
from beamhouse.engine.link.errors import EngineError
from beamhouse.engine.loading.files import BUILTIN, BUILTIN_DRAFT, find_model
from beamhouse.server.command.bench.modes import MODES, Mode, Needs
from benchmarks.cases.modes import Drawing, EndedEarly
from benchmarks.cases.prompts import draw_ids
from benchmarks.library.facts import describe
from benchmarks.library.in_process import InProcess, load_model, unlikely_token, write_text
from benchmarks.library.legacy import Worker, WorkerFailed, started_worker
from benchmarks.report.comparisons import Comparison, compare, draft_table, mode_table
from benchmarks.report.options import positive
from benchmarks.report.tables import show, write_json
from benchmarks.serving.plain_requests import DRAFT_NAME, ServerFailed, answer_round, server_info
from benchmarks.serving.processes import NotStarted, serve_module, started_module

DTYPE = "float32"
NUM_PROBES = 8
FAILURES = (NotStarted, ServerFailed, WorkerFailed, EndedEarly, EngineError, InvalidSettings, httpx.HTTPError)


@dataclass(frozen=True, slots=True)
class ModesOptions:
    """What the command line asks for. threads: 0 lets each side choose. draft: None where there is no draft model."""

    model: str
    draft: Path | None
    legacy_python: Path | None
    modes: list[str]
    requests: list[int]
    prompt_tokens: int
    new_tokens: int
    draft_tokens: int
    draft_threshold: float
    rounds: int
    seed: int
    threads: int
    device: str
    wait_s: float
    json: Path | None
    dtype: str


@dataclass(frozen=True, slots=True)
class Sides:
    """Who is asked: the server at `address`, and the library here and in a worker."""

    address: str
    library: InProcess
    worker: Worker | None


def main() -> None:
    """What goes wrong with the model, the server or the worker is one line, not a traceback."""
    try:
        run(read_options())
    except FAILURES as error:
        sys.exit(f"benchmarks.modes: {error}")


def read_options(arguments: Sequence[str] | None = None) -> ModesOptions:
    names = [mode.name for mode in MODES]
    parser = argparse.ArgumentParser(prog="benchmarks.modes", description="Decoding modes beside model.generate().")
    parser.add_argument("--modes", nargs="+", choices=names, default=names, metavar="MODE", help=", ".join(names))
    parser.add_argument("--requests", type=positive, nargs="+", default=[1, 8], help="numbers of requests at once")
    parser.add_argument("--legacy-python", type=Path, metavar="PATH", help="an interpreter with transformers 4.45")
    parser.add_argument("--draft", type=Path, metavar="DIRECTORY", help="draft model; of builtin its own by default")
    parser.add_argument("--draft-tokens", type=positive, default=5, help="tokens drafted at once, on both sides")
    parser.add_argument("--draft-threshold", type=float, default=0.4, help="confidence below which a draft ends")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default=DTYPE, help=f"of both sides ({DTYPE})")
    parser.add_argument("--model", default=BUILTIN, help="directory, Hub id or builtin (default)")
    parser.add_argument("--prompt-tokens", type=positive, default=64)
    parser.add_argument("--new-tokens", type=positive, default=48)
    parser.add_argument("--rounds", type=positive, default=3, help="of each side, alternating")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts, which are random tokens")
    parser.add_argument("--threads", type=int, default=1, help="of each side; 0: its own choice (1)")
    parser.add_argument("--device", default="cpu", help="as the server takes it (cpu)")
    parser.add_argument("--wait-s", type=float, default=600.0, help="how long the server may take to get ready")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    chosen = vars(parser.parse_args(arguments))
    if chosen["draft"] is None and chosen["model"] == BUILTIN:
        chosen["draft"] = BUILTIN_DRAFT
    if chosen["draft"] is None and "draft_model" in chosen["modes"]:
        if chosen["modes"] is not names:
            parser.error("draft_model needs --draft")
        chosen["modes"] = [name for name in names if name != "draft_model"]
    return ModesOptions(**chosen)


def run(options: ModesOptions) -> None:
    modes = [mode for mode in MODES if mode.name in options.modes]
    with started_sides(options, modes) as sides:
        info = server_info(sides.address)
        facts = describe(options, info)
        if sides.worker:
            facts["legacy versions"] = sides.worker.versions
        show(facts)
        drawing = draw_like(options, info["model"]["vocab_size"], sides.library)
        compared = [
            measured(mode, number, drawing, options.rounds, sides) for mode in modes for number in options.requests
        ]
    print(mode_table(compared))
    left_out = [mode.name for mode in modes if mode.is_legacy and not options.legacy_python]
    if left_out:
        print(f"\nWithout --legacy-python nothing is beside {', '.join(left_out)}: transformers 5.x has them no more.")
    if drafts := draft_table(compared):
        print(f"\n{drafts}")
    if options.json:
        write_json(options.json, facts, [to_json(comparison) for comparison in compared])


@contextmanager
def started_sides(options: ModesOptions, modes: Sequence[Mode]) -> Iterator[Sides]:
    """Every process and model that these modes need."""
    settings = load({"model": options.model, "device": options.device})
    path = find_model(settings.model, lambda stage, share: None)
    draft = options.draft if any(mode.needs is Needs.DRAFT_MODEL for mode in modes) else None
    server = {"model": options.model, "dtype": options.dtype, "device": options.device}
    server |= {"num_threads": str(options.threads)} if options.threads else {}
    server |= {"assistant": f"{DRAFT_NAME}={draft}"} if draft else {}
    python = options.legacy_python if any(mode.is_legacy for mode in modes) else None
    with started_module(*serve_module(server), wait_s=options.wait_s) as running:
        device = server_info(running.address)["model"]["device"]
        library = InProcess(
            load_model(path, options.dtype, device, options.threads),
            load_model(draft, options.dtype, device, options.threads) if draft else None,
        )
        with (
            started_worker(python, path, device, options.dtype, options.threads) if python else nullcontext() as worker
        ):
            yield Sides(running.address, library, worker)


def draw_like(options: ModesOptions, vocab_size: int, library: InProcess) -> Drawing:
    """How the requests of these options are drawn, with an end token that the model does not lead to."""
    draw = Random(options.seed)
    probes = [draw_ids(draw, options.prompt_tokens, vocab_size) for _ in range(NUM_PROBES)]
    drafting = {
        "num_assistant_tokens": options.draft_tokens,
        "num_assistant_tokens_schedule": "constant",
        "assistant_confidence_threshold": options.draft_threshold,
    }
    end_id = unlikely_token(library.model, probes)
    write = partial(write_text, library.model)
    return Drawing(options.seed, vocab_size, options.prompt_tokens, options.new_tokens, end_id, drafting, write)


def measured(mode: Mode, num_requests: int, drawing: Drawing, num_rounds: int, sides: Sides) -> Comparison:
    print(f"{mode.name}, {num_requests} at once", file=sys.stderr)
    rounds = drawing.rounds(mode, num_requests, num_rounds + 1)
    library = sides.worker if mode.is_legacy else sides.library
    return compare(mode, rounds, lambda requests: answer_round(sides.address, requests), library)


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Every figure, with what is derived of them; what is not a number is null."""
    derived = {"ratio": comparison.ratio}
    if comparison.num_drafted:
        derived |= {"acceptance": comparison.acceptance, "acceptance_needed": comparison.draft_cost}
    return asdict(comparison) | derived


if __name__ == "__main__":
    main()
