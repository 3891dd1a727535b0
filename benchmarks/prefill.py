"""What shared prompts save, and what long prompts cost the streams beside them, over HTTP.

    python -m benchmarks.prefill [--model llama|small|DIRECTORY] [--streams 1 8 32] [--set KEY=VALUE ...]

Shared: the time to the first token of a short prompt, of one that begins with many tokens that were asked before, and
of several such prompts that come at the same moment when nothing of them is known yet. Long: streams decode while long
prompts arrive one after another; told are the times between two tokens of the streams, from the last of their first
tokens on.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from beamhouse.server.command.bench.quantiles import quantile
from benchmarks.cases.loads import Ask, Lanes, burst, word_ids
from benchmarks.machine.facts import commit, cpu_name
from benchmarks.peers.catalog import Choice, beamhouse
from benchmarks.peers.formats import chosen_model
from benchmarks.report.options import positive, setting
from benchmarks.report.tables import markdown, show
from benchmarks.serving.dialects import Native
from benchmarks.serving.processes import started
from benchmarks.serving.wire import Streamed, drive

WAIT_S = 180.0
SHORT, SHARED, OWN, NUM_TOGETHER = 50, 1000, 50, 4
"""Tokens of a short prompt, of a shared beginning, and behind it; and how many such prompts come together."""

LONG, NUM_LONG, LONG_AT_S = 2000, 2, 6.0
STREAM_PROMPT = 64
STREAM_NEW = {1: 700, 8: 500}
"""Tokens of each stream, by how many there are: enough to outlast the long prompts."""

OTHER_NEW = 250


@dataclass(frozen=True, slots=True)
class PrefillOptions:
    model: str
    streams: list[int]
    rounds: int
    seed: int
    threads: int
    peers: Path
    set: dict[str, str]


@dataclass(frozen=True, slots=True)
class Shared:
    """Seconds to the first token. together_s: to the last of the first tokens."""

    short_s: float
    first_s: float
    other_s: float
    together_s: float


@dataclass(frozen=True, slots=True)
class Long:
    """Seconds between two tokens of a stream: the median before the first long prompt came, and of the whole run.

    first_s: to the first token of a long prompt.
    """

    quiet_p50_s: float
    p50_s: float
    p99_s: float
    most_s: float
    first_s: float


def main() -> None:
    options = read_options()
    choice = Choice(chosen_model(options.model, options.peers), options.peers, options.threads, options.set)
    side, words = beamhouse(choice), word_ids(choice.model.source)
    logs = options.peers / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    show({"cpu": cpu_name(), "threads": options.threads, "commit": commit(), "set": options.set})
    with started(side.command, side.environment, side.ready, WAIT_S, logs / "prefill.log") as server:
        rng = random.Random(options.seed)
        drive(server.port, Native(), burst("warm-up", "", 8, STREAM_PROMPT, 8).lanes(options.seed, 0, words))
        print(table_of_shared([shared(server.port, rng, words) for _ in range(options.rounds)]), end="\n\n")
        print(table_of_long({num: long(server.port, rng, words, num) for num in options.streams}))


def read_options(arguments: Sequence[str] | None = None) -> PrefillOptions:
    parser = argparse.ArgumentParser(prog="benchmarks.prefill", description="Long prompts and shared ones.")
    parser.add_argument("--model", default="llama", help="llama (default) or small, generated; a directory")
    parser.add_argument("--streams", type=positive, nargs="+", default=[1, 8, 32], help="beside long prompts (1 8 32)")
    parser.add_argument("--rounds", type=positive, default=5, help="of shared prompts")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="where the generated models are")
    parser.add_argument("--set", type=setting, nargs="+", default=[], metavar="KEY=VALUE", help="more for the server")
    chosen = vars(parser.parse_args(arguments))
    return PrefillOptions(**chosen | {"set": dict(chosen["set"]), "peers": chosen["peers"].resolve()})


def shared(port: int, rng: random.Random, words: Sequence[int]) -> Shared:
    """One round with beginnings that nobody asked before."""

    def first_s(prompts: list[list[int]]) -> float:
        answers = drive(port, Native(), [[Ask(prompt, 4)] for prompt in prompts])
        return max(answer.arrived_s[0] - answer.sent_s for answer in answers)

    def draw(num_tokens: int) -> list[int]:
        return rng.choices(words, k=num_tokens)

    one, other = draw(SHARED), draw(SHARED)
    return Shared(
        short_s=first_s([draw(SHORT)]),
        first_s=first_s([one + draw(OWN)]),
        other_s=first_s([one + draw(OWN)]),
        together_s=first_s([other + draw(OWN) for _ in range(NUM_TOGETHER)]),
    )


def long(port: int, rng: random.Random, words: Sequence[int], num_streams: int) -> Long:
    """Streams that all start at once, and one lane of long prompts."""
    num_new = STREAM_NEW.get(num_streams, OTHER_NEW)
    lanes: Lanes = [[Ask(rng.choices(words, k=STREAM_PROMPT), num_new)] for _ in range(num_streams)]
    lanes.append([Ask(rng.choices(words, k=LONG), 4, LONG_AT_S) for _ in range(NUM_LONG)])
    return figures(drive(port, Native(), lanes), num_streams)


def figures(answers: Sequence[Streamed], num_streams: int) -> Long:
    """answers: of the streams, then of the long prompts."""
    streams, prompts = answers[:num_streams], answers[num_streams:]
    begin, quiet_end = max(one.arrived_s[0] for one in streams), prompts[0].sent_s
    gaps = [(later, later - one) for answer in streams for one, later in pairwise(answer.arrived_s) if one >= begin]
    every = [gap for _, gap in gaps]
    return Long(
        quiet_p50_s=median(gap for when, gap in gaps if when < quiet_end),
        p50_s=quantile(every, 0.5),
        p99_s=quantile(every, 0.99),
        most_s=max(every),
        first_s=median(answer.arrived_s[0] - answer.sent_s for answer in prompts),
    )


def table_of_shared(rounds: Sequence[Shared]) -> str:
    """Medians of the rounds."""
    short, first, other, together = (
        median(getattr(one, name) for one in rounds) for name in ("short_s", "first_s", "other_s", "together_s")
    )
    rows = [
        [f"{SHORT} tokens", short, short],
        [f"{SHARED} shared + {OWN}, the first", first, short],
        ["the same beginning, later", other, short],
        [f"{NUM_TOGETHER} of a new beginning at once, the last of them", together, first],
    ]
    heads = ["prompt", "first token, ms", "ratio"]
    return markdown([heads, *([name, f"{took * 1e3:.0f}", f"{took / of:.2f}"] for name, took, of in rows)], names=1)


def table_of_long(found: dict[int, Long]) -> str:
    heads = ["streams", "p50 without, ms", "p50", "p99", "most", "p99 / p50", "p99 / p50 without", "first token, s"]
    lines = [heads]
    for num_streams, one in found.items():
        times = [f"{took * 1e3:.0f}" for took in (one.quiet_p50_s, one.p50_s, one.p99_s, one.most_s)]
        ratios = [f"{one.p99_s / one.p50_s:.2f}", f"{one.p99_s / one.quiet_p50_s:.2f}"]
        lines.append([str(num_streams), *times, *ratios, f"{one.first_s:.1f}"])
    return markdown(lines, names=1)


if __name__ == "__main__":
    main()
