"""Random requests in one crowded engine, each held against itself alone in a roomy one.

    python -m tests.fuzz.company [--seed N] [--seconds S] [--rounds R] [--families F ...] [--kernels auto torch]

What differs is printed with the command that shows it again; the exit status is 1 then.
"""

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from functools import cache
from shlex import quote
from typing import Any

import torch

from beamhouse.engine.decoding.assisted import Assisted
from beamhouse.engine.decoding.drafting.draft_runner import DraftRunner
from beamhouse.engine.loop.engine import Engine
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.server.answering.tensors import read_likely
from tests.fuzz.crowds import Crowd, Member, draw_crowd, make_engine
from tests.fuzz.requests import MODES, Dice
from tests.parity.running import Answer, run

FAMILIES = ("qwen3", "gemma3", "builtin", "llama", "phi3, longrope")
"""Such as the kernels run and such as are left to the library's code; the last turns positions by lengths."""

NEAR = 1e-4
"""How far scores may be off: where torch computes, sums over more padding round in another way."""
MOST_SHOWN = 300
"""Characters of one thing that differs."""


@cache
def roomy(family: str, kernels: str) -> Engine:
    """Where a request alone meets no limit; it finds nothing of those before it."""
    return make_engine(family, kernels, prefix_caching=False, max_stretch=1e6, step_tokens=512)


@cache
def cramped(family: str, kernels: str) -> Engine:
    """Another way to compute the same alone: prompts in small parts."""
    return make_engine(family, kernels, prefix_caching=False, step_tokens=64, max_rows=24, block_size=32)


@dataclass(slots=True)
class Report:
    """faults: what is wrong, in words. num_undecided: answers that differ alone too, by the last bits of a sum."""

    num_checked: int = 0
    num_undecided: int = 0
    num_refused: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        self.num_checked += other.num_checked
        self.num_undecided += other.num_undecided
        self.num_refused += other.num_refused
        self.faults += other.faults


def play(family: str, kernels: str, seed: int, modes: Seq[str] = tuple(MODES)) -> Report:
    """One crowd from its arrival to its end, and then each of its members alone."""
    crowd = draw_crowd(Dice(f"{family} {seed}"), family, kernels, modes)
    engine, report = make_engine(family, kernels, **crowd.settings), Report()
    try:
        answers = _run(engine, crowd)
    except Exception as error:  # whatever ends the engine is a fault
        report.faults.append(f"the engine raised {type(error).__name__}: {error}")
        return report
    report.faults += leaks(engine)
    for member in crowd.members:
        _judge(member, answers[member.submission.request_id], family, kernels, report)
    return report


def _run(engine: Engine, crowd: Crowd) -> dict[str, Answer]:
    arrivals: dict[int, list[Any]] = {}
    cancels: dict[int, list[str]] = {}
    for member in crowd.members:
        arrivals.setdefault(member.comes_at, []).append(member.submission)
        if member.cancelled_at is not None:
            cancels.setdefault(member.cancelled_at, []).append(member.submission.request_id)
    return run(engine, arrivals, cancels)


def _judge(member: Member, have: Answer, family: str, kernels: str, report: Report) -> None:
    if have.finished is None:
        if member.cancelled_at is None:
            report.faults.append(f"{_name(member)} never ended")
        return
    if {problem.code for problem in have.finished.problems} == {"out_of_range"}:  # too large for the tight engine
        report.num_refused += 1
        return
    report.num_checked += 1
    want = _alone(roomy(family, kernels), member)
    found = list(differences(have, want))
    if not found:
        return
    if any(differences(_alone(cramped(family, kernels), member), want)):
        report.num_undecided += 1
        return
    report.faults.append("\n    ".join([_name(member), *found]))


def _alone(engine: Engine, member: Member) -> Answer:
    return run(engine, {0: [member.submission]})[member.submission.request_id]


def _name(member: Member) -> str:
    outside = {name: value for name, value in member.asked.outside.items() if value}
    terms = f"priority {member.submission.priority}, {member.submission.wanted}"
    return f"{member.asked.mode}: {len(member.asked.prompt_ids)} tokens, {member.asked.fields}, {outside}, {terms}"


def differences(have: Answer, want: Answer) -> Iterator[str]:
    """What company changed of an answer, in words."""
    exact, near = _exact(want), _near(want)
    for name, value in _exact(have).items():
        if value != exact[name]:
            yield _shown(name, value, exact[name])
    for name, numbers in _near(have).items():
        if not _are_near(numbers, near[name]):
            yield _shown(name, numbers, near[name])


def _shown(name: str, have: object, want: object) -> str:
    return f"{name}: {str(have)[:MOST_SHOWN]} in company, {str(want)[:MOST_SHOWN]} alone"


def _exact(answer: Answer) -> dict[str, Any]:
    finished = answer.finished
    assert finished is not None
    return {
        "error": (finished.error_code, finished.error),
        "tokens": answer.token_ids,
        "reasons": answer.reasons,
        "beams": {index: ranking.beam_indices for index, ranking in answer.rankings.items()},
        "drafts": (finished.drafted_tokens, finished.accepted_tokens),
    }


def _near(answer: Answer) -> dict[str, list[float | None]]:
    """Numbers that may be off in their last bits."""
    rankings = [ranking for _, ranking in sorted(answer.rankings.items())]
    tops = [top for _, row in sorted(answer.top_tokens.items()) for top in row]
    tops += [top for ranking in rankings for top in ranking.top_tokens]
    return {
        "scores": [score for _, row in sorted(answer.scores.items()) for score in row],
        "ranking": [ranking.score for ranking in rankings] + [one for ranking in rankings for one in ranking.scores],
        "top tokens": [token.logprob for top in tops for token in top],
        "prompt top tokens": _likely(answer),
        "prompt_logprobs": answer.finished.prompt_logprobs if answer.finished else [],
    }


def _likely(answer: Answer) -> list[float | None]:
    given = answer.finished.prompt_top_tokens if answer.finished else None
    return [] if given is None else [top.logprob for tops in read_likely(given) for top in tops or []]


def _are_near(some: Seq[float | None], others: Seq[float | None]) -> bool:
    if len(some) != len(others):
        return False
    pairs = zip(some, others, strict=True)
    return all(
        one == other if one is None or other is None else math.isclose(one, other, rel_tol=NEAR, abs_tol=NEAR)
        for one, other in pairs
    )


def leaks(engine: Engine) -> Iterator[str]:
    """What an engine with nothing to do still holds."""
    if engine.cache.num_used or set(engine.cache._references) != {0}:
        yield f"{engine.cache.num_used} blocks are still held"
    if engine.roster.by_id or engine.roster.traces or engine.scheduler._order:
        yield "requests are still known"
    for runner in draft_runners(engine):
        if runner._sequences or runner.cache.num_used:
            yield f"drafts still hold {runner.cache.num_used} blocks"


def draft_runners(engine: Engine) -> Iterator[DraftRunner]:
    assisted = engine.strategies[GenerationMode.ASSISTED_GENERATION]
    assert isinstance(assisted, Assisted)
    for model in (*assisted.assistants.models.values(), getattr(assisted.assistants.early_exit, "model", None)):
        if model is not None:
            yield model.runner


def command(family: str, kernels: str, seed: int) -> str:
    return f"python -m tests.fuzz.company --families {quote(family)} --kernels {kernels} --seed {seed} --rounds 1"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument(
        "--rounds", type=int, default=0, help="seeds to play; as many as there is time for if not given"
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--kernels", nargs="+", default=("auto", "torch"), choices=("auto", "torch"))
    parser.add_argument("--modes", nargs="+", default=tuple(MODES), choices=tuple(MODES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    end, total = time.monotonic() + options.seconds, Report()
    seeds = range(options.seed, options.seed + options.rounds) if options.rounds else itertools.count(options.seed)
    played = ((seed, *where) for seed in seeds for where in itertools.product(options.families, options.kernels))
    for seed, family, kernels in played:
        if not options.rounds and time.monotonic() > end:
            break
        report = play(family, kernels, seed, options.modes)
        total.add(report)
        for fault in report.faults:
            print(f"{command(family, kernels, seed)}\n  {fault}", flush=True)
    print(
        f"{total.num_checked} answers, {len(total.faults)} faults, {total.num_undecided} undecided by the last bits, "
        f"{total.num_refused} refused"
    )
    return int(bool(total.faults))


if __name__ == "__main__":
    sys.exit(main())
