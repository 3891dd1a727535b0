"""What one step of the engine costs beside the forward pass, phase by phase.

    python -m benchmarks.step [--cases CASE ...] [--rows 1 8 32 64] [--waiting 0 256] [--vocab-size 32000] [--detail]

Drives the engine in process with a runner that computes nothing: its logits lie ready. Everything else is real: the
scheduler, the strategies, the processors, settling, and the encoding of the step's message. Printed are microseconds,
each the median over the steps, a phase without those inside it; `--detail` also names each processor.
"""

import argparse
import functools
import time
from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass, field
from random import Random
from statistics import median
from typing import Any

import torch

from beamhouse.engine.decoding.assisted import Assistants
from beamhouse.engine.decoding.modes import strategies
from beamhouse.engine.decoding.strategy import ModelFacts
from beamhouse.engine.link.messages import StepOutputs, Submission, encode
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.loop.scheduler import Scheduler
from beamhouse.engine.loop.settling import Settler
from beamhouse.engine.loop.step_budget import StepLimits
from beamhouse.engine.native.library import Kernels, load_kernels
from beamhouse.engine.runners.runner import Inspection, Seen
from beamhouse.engine.state.batch import Batch, Forward
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Sequence
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolved import Resolved
from benchmarks.cases.prompts import draw_ids
from benchmarks.machine.facts import cpu_name
from benchmarks.report.options import positive
from benchmarks.report.tables import markdown, show

WARM_UP = 8
HIDDEN_SIZE = 896
END = 2
PHASES = ("schedule", "strategies", "processors", "settle", "publish", "rest")

SAMPLED = {"do_sample": True, "temperature": 0.8, "top_k": 50, "top_p": 0.9}
BEAMS = {"num_beams": 8}
CASES: dict[str, dict[str, Any]] = {  # the fields of a request
    "greedy": {},
    "sample": {"do_sample": True},
    "sample, cut": SAMPLED,
    "sample, cut, penalty": SAMPLED | {"repetition_penalty": 1.1},
    "sample, top_p": {"do_sample": True, "top_p": 0.9},
    "sample, min_p": {"do_sample": True, "min_p": 0.05},
    "sample, typical_p": {"do_sample": True, "typical_p": 0.9},
    "no n-gram twice": {"no_repeat_ngram_size": 3},
    "green list": {"watermarking_config": {"seeding_scheme": "lefthash"}},
    "green list, selfhash": {"watermarking_config": {"seeding_scheme": "selfhash"}},
    "SynthID": {"do_sample": True, "top_k": 50, "watermarking_config": {"ngram_len": 5, "keys": list(range(1, 31))}},
    "8 beams": BEAMS,
    "8 drawn beams": BEAMS | {"do_sample": True},
    "8 beams in 4 groups": BEAMS | {"num_beam_groups": 4, "diversity_penalty": 0.5},
    "8 constrained beams": BEAMS | {"force_words_ids": [[[11, 12, 13]], [[21, 22]]]},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "DoLa": {"dola_layers": [2, 4]},
    "prompt lookup": {"prompt_lookup_num_tokens": 4},
}


class ReadyRunner:
    """A model whose logits and hidden states are drawn beforehand; each step shows other ones."""

    name = "ready"
    device = torch.device("cpu")
    max_len = 1 << 20

    def __init__(self, vocab_size: int, num_rows: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.vocab_size = vocab_size
        self._logits = [3 * torch.randn(num_rows, vocab_size, generator=draw) for _ in range(4)]
        for logits in self._logits:
            logits[:, END] = -20.0
        self._hidden = torch.randn(1, num_rows, HIDDEN_SIZE, generator=draw)
        self._turn = 0

    def forward(self, batch: Batch) -> Forward:
        spans: dict[Sequence, range] = {}
        hidden: dict[Sequence, torch.Tensor] = {}
        end = 0
        for feed in batch.feeds:
            feed.sequence.num_cached += len(feed.token_ids)
            if feed.num_logits:
                spans[feed.sequence] = range(end, end := end + feed.num_logits)
            if feed.num_hidden:
                hidden[feed.sequence] = self._hidden[:, : feed.num_hidden].expand(len(feed.layers), -1, -1)
        self._turn += 1
        return Forward(self._logits[self._turn % len(self._logits)][:end], spans, hidden)

    def project(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._logits[0][: len(hidden)]

    def inspect(self, token_ids: Seq[int], inspection: Inspection) -> Iterator[Seen]:
        raise NotImplementedError


@dataclass
class Clock:
    """Adds up the seconds of each watched method, without those spent in watched methods that it calls."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _inner: list[float] = field(default_factory=list)

    def watch(self, owner: type, method: str, phase: str) -> None:
        plain = getattr(owner, method)

        @functools.wraps(plain)
        def timed(*args: Any, **options: Any) -> Any:
            return self.time(phase, lambda: plain(*args, **options))

        setattr(owner, method, timed)

    def time(self, phase: str, call: Any) -> Any:
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            return call()
        finally:
            whole = time.perf_counter() - start
            self.spent[phase] += whole - self._inner.pop()
            if self._inner:
                self._inner[-1] += whole


@dataclass(frozen=True, slots=True)
class StepOptions:
    cases: list[str]
    rows: list[int]
    waiting: list[int]
    vocab_size: int
    prompt_tokens: int
    steps: int
    threads: int
    detail: bool
    kernels: str


def make_engine(
    vocab_size: int, max_rows: int, length: int, kernels: Kernels | None, registry: Registry | None = None
) -> Engine:
    """One that is full with `max_rows` rows of `length` tokens each."""
    cache = BlockCache(2 * max_rows * (length // 16 + 2), 16)
    runner = ReadyRunner(vocab_size, 8 * max_rows)
    pipeline = Pipeline(vocab_size, registry or Registry({}, {}), runner.device, kernels=kernels)
    modes = strategies(ModelFacts(num_layers=8, has_tied_embeddings=False), Assistants())
    return Engine(runner, cache, StepLimits(max_rows, max_rows * length, 1 << 20), pipeline, modes)


def watch_all(clock: Clock) -> None:
    """Let the clock see all phases of a step."""
    engine = make_engine(vocab_size=256, max_rows=1, length=16, kernels=None)
    clock.watch(Scheduler, "expired", "schedule")
    clock.watch(Scheduler, "schedule", "schedule")
    clock.watch(ReadyRunner, "forward", "forward")
    clock.watch(Settler, "settle", "settle")
    clock.watch(Pipeline, "process", "pipeline")
    for strategy in engine.strategies.values():
        for method in ("advance", "propose", "observe"):
            if method in vars(type(strategy)):
                clock.watch(type(strategy), method, "strategies")
    for processor in engine.pipeline.processors:
        clock.watch(type(processor), "__call__", f"{type(processor).__name__}()")


def measure(options: StepOptions, clock: Clock, case: str, rows: int, waiting: int) -> dict[str, float] | None:
    """Seconds of each phase in a step, and of the whole; None where a request of the case has more rows than asked."""
    length = options.prompt_tokens + 6 * (WARM_UP + options.steps)
    fields = {"top_k": 0} | CASES[case] | {"max_length": length, "eos_token_id": END}
    config = Resolved.of(GenerationConfig(**fields))
    if rows % config.num_rows:
        return None
    kernels = load_kernels(options.threads) if options.kernels == "native" else None
    engine, draw = make_engine(options.vocab_size, rows, length, kernels), Random(0)
    for number in range(rows // config.num_rows + waiting):
        prompt = draw_ids(draw, options.prompt_tokens, options.vocab_size)
        engine.submit(Submission(str(number), prompt, config, seed=number, deadline_s=600.0))
    found: list[dict[str, float]] = []
    for _ in range(WARM_UP + options.steps):
        clock.spent = defaultdict(float)
        start = time.perf_counter()
        outputs: StepOutputs = engine.step()
        clock.time("publish", lambda outputs=outputs: encode(outputs))
        clock.spent["whole"] = time.perf_counter() - start
        if outputs.finished:
            raise SystemExit(f"{case}: {outputs.finished[0].error or outputs.finished[0].problems or 'it ended early'}")
        found.append(clock.spent)
    names = {name for spent in found for name in spent}
    return {name: median(spent.get(name, 0.0) for spent in found[WARM_UP:]) for name in names}


def line(case: str, rows: int, waiting: int, spent: dict[str, float]) -> list[str]:
    """A row of the table, in microseconds."""
    processors = {name: value for name, value in spent.items() if name.endswith("()")}
    shown = dict(spent, processors=spent.get("pipeline", 0.0) + sum(processors.values()))
    total = spent["whole"] - spent.get("forward", 0.0)
    shown["rest"] = total - sum(shown.get(phase, 0.0) for phase in PHASES[:-1])
    figures = [total, *(shown.get(phase, 0.0) for phase in PHASES)]
    return [case, str(rows), str(waiting), *(f"{1e6 * value:.0f}" for value in figures)]


def details(spent: dict[str, float]) -> str:
    named = {name: value for name, value in spent.items() if name.endswith("()") or name == "pipeline"}
    return ", ".join(f"{name} {1e6 * value:.0f}" for name, value in sorted(named.items(), key=lambda item: -item[1]))


def read_options(arguments: Seq[str] | None = None) -> StepOptions:
    parser = argparse.ArgumentParser(prog="benchmarks.step", description="The cost of a step beside its forward pass.")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help="by name")
    parser.add_argument("--rows", type=positive, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--waiting", type=int, nargs="+", default=[0], help="requests that wait behind those that run")
    parser.add_argument("--vocab-size", type=positive, default=32_000)
    parser.add_argument("--prompt-tokens", type=positive, default=256)
    parser.add_argument("--steps", type=positive, default=40, help="measured of each case")
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--detail", action="store_true", help="name the processors")
    parser.add_argument("--kernels", choices=["native", "torch"], default="native", help="what may serve torch's place")
    return StepOptions(**vars(parser.parse_args(arguments)))


def main() -> None:
    options = read_options()
    torch.set_num_threads(options.threads)
    show({"cpu": cpu_name(), "torch": torch.__version__, "settings": asdict(options)})
    clock = Clock()
    watch_all(clock)
    lines = [["case", "rows", "waiting", "all", *PHASES]]
    notes: list[str] = []
    for case in options.cases:
        for rows in options.rows:
            for waiting in options.waiting:
                spent = measure(options, clock, case, rows, waiting)
                if spent is not None:
                    lines.append(line(case, rows, waiting, spent))
                    notes.append(f"{case}, {rows} rows: {details(spent)}")
    print(markdown(lines, names=1))
    if options.detail:
        print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
