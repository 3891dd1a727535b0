"""What the weights of a request's budget stand for, measured: bytes of JSON, and nanoseconds that a step lasts longer.

    python -m benchmarks.budget [--vocab-size 32000] [--rows 8] [--steps 5]

Beside each weight of `schemas/judge/budget.py` stands what it came to here. Bytes are those of real tokens in the
built-in model's words. Times are of one step, the model's pass left out (its logits lie ready), less those of the
same rows without the feature, divided by the units that the budget counts. A weight is right when it is not below the
figure by much: it decides what is refused, so it stands for a machine of two cores that others use too.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any

import torch

from beamhouse.engine.link.messages import Named, Submission, Wanted
from beamhouse.engine.loading.files import BUILTIN_FILES
from beamhouse.engine.logits.registered.registry import BUILTIN_PROCESSORS, Registry
from beamhouse.engine.native.library import load_kernels
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.beamhouse.events import HypothesisEvent, TokenEvent, TopTokenEvent
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.judge import budget
from beamhouse.server.answering.answer_json import encode_json
from beamhouse.server.doors.beamhouse.speaker import write_event
from benchmarks.cases.prompts import draw_ids
from benchmarks.machine.facts import cpu_name
from benchmarks.report.options import positive
from benchmarks.report.tables import markdown, show
from benchmarks.step import END, make_engine

PROMPT_TOKENS = 1100
MANY = 1000
STORY = "Once upon a time there was a little bear who lived in the woods. He asked: what is over the hill? " * 20


class Never:
    """A stopping criterion that stops nothing."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor | None) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    vocab_size: int
    rows: int
    steps: int


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked, and the same rows without it. units: how many the budget counts in a step."""

    name: str
    weight: float
    units: float
    fields: dict[str, Any] = field(default_factory=dict)
    outside: dict[str, Any] = field(default_factory=dict)
    without: dict[str, Any] = field(default_factory=dict)
    is_one_request: bool = False


def byte_rows() -> Iterator[list[str]]:
    """Bytes of JSON for each unit, over the tokens of a story."""
    text = Text.load(str(BUILTIN_FILES / "tokenizer.json"), None, {})
    token_ids = text.encode([STORY])[0]
    pieces, score = [text.token_text(token_id) for token_id in token_ids], -1.2345678901234567
    events = [
        TokenEvent(0, place, token_id, piece)
        for place, (token_id, piece) in enumerate(zip(token_ids, pieces, strict=True))
    ]
    tops = [
        TopTokenEvent(token_id=token_id, text=piece, logprob=score)
        for token_id, piece in zip(token_ids, pieces, strict=True)
    ]
    live = HypothesisEvent(text=text.decode(token_ids), token_ids=token_ids, score=score)
    measured = {
        "TOKEN_BYTES": len(encode_json([token_ids, STORY])),
        "EVENT_BYTES": len(b"".join(map(write_event, events))),
        "TOP_TOKEN_BYTES": len(encode_json(tops)),
        "SCORE_BYTES": len(encode_json([score] * len(token_ids))),
        "FLAG_BYTES": len(encode_json([False] * len(token_ids))),
        "LIVE_TOKEN_BYTES": len(encode_json(live)),
    }
    for name, size in measured.items():
        yield [name, f"{getattr(budget, name)} B", f"{size / len(token_ids):.1f} B"]


def cases(options: BudgetOptions) -> Iterator[Case]:
    rows, entries = options.rows, options.rows * options.vocab_size
    draw, beams = Random(0), {"num_beams": options.rows}
    phrases = [draw_ids(draw, 4, options.vocab_size) for _ in range(MANY)]
    forced, one = beams | {"force_words_ids": [phrases]}, beams | {"force_words_ids": phrases[:1]}
    yield Case("FORCED_NS", budget.FORCED_NS, rows * (MANY - 1), forced, without=one, is_one_request=True)
    slow = {"stopping_criteria": [Named("never")]}
    yield Case("STOPPABLE_NS", budget.STOPPABLE_NS, rows * (MANY - 1), forced, slow, one, is_one_request=True)
    lengths = {"sequence_bias": [[[5] * length, 1.0] for length in range(2, MANY + 2)]}
    yield Case("LENGTH_NS", budget.LENGTH_NS, rows * MANY, lengths, without={"sequence_bias": [[[5, 5], 1000.0]]})
    top = {"wanted": Wanted(top_n_tokens=100)}
    yield Case("TOP_TOKEN_NS, the vocabulary included", budget.TOP_TOKEN_NS, rows * 100, outside=top)
    named = {"logits_processor": [Named("block_characters", {"deny": ["0"]})] * 4}
    per_call = budget.REGISTERED_NS + budget.REGISTERED_ENTRY_NS * options.vocab_size
    yield Case("REGISTERED_NS + V x REGISTERED_ENTRY_NS", per_call, rows * 4, outside=named)
    for name, size in (("SYNTHID_ENTRY_NS", 65_536), ("SYNTHID_GATHERED_NS", 65_537)):
        mark = {"ngram_len": 5, "keys": list(range(30)), "sampling_table_size": size}
        sampled = {"do_sample": True}
        yield Case(name, getattr(budget, name), entries * 30, sampled | {"watermarking_config": mark}, without=sampled)
    selfhash = {"watermarking_config": {"seeding_scheme": "selfhash"}}
    yield Case("SELFHASH_ENTRY_NS", budget.SELFHASH_ENTRY_NS, entries, selfhash)
    yield Case("DOLA_ENTRY_NS", budget.DOLA_ENTRY_NS, entries * 4, {"dola_layers": [0, 2, 4, 6]})


def step_s(options: BudgetOptions, case: Case, fields: dict[str, Any], outside: dict[str, Any]) -> float:
    """Median seconds of a step of these requests."""
    length = PROMPT_TOKENS + options.steps + 2
    kernels = load_kernels(1)
    registry = Registry(
        BUILTIN_PROCESSORS, {"never": Never}, [str(number).encode() for number in range(options.vocab_size)]
    )
    engine = make_engine(options.vocab_size, options.rows * 2, length, kernels, registry)
    for number in range(1 if case.is_one_request else options.rows):
        asked = GenerationConfig(**{"top_k": 0} | fields | {"max_length": length, "eos_token_id": END})
        engine.submit(Submission(str(number), [5] * PROMPT_TOKENS, Resolved.of(asked), seed=number, **outside))
    times: list[float] = []
    while engine.has_work:
        start = time.perf_counter()
        outputs = engine.step()
        times.append(time.perf_counter() - start)
        if failed := next((one.error for one in outputs.finished if one.error), None):
            raise SystemExit(f"{case.name}: {failed}")
    return median(times[2:])


def time_rows(options: BudgetOptions) -> Iterator[list[str]]:
    for case in cases(options):
        with_it = step_s(options, case, case.fields or case.without, case.outside)
        spent = max(0.0, with_it - step_s(options, case, case.without, {}))
        yield [case.name, f"{case.weight:,.0f} ns", f"{spent / case.units * 1e9:,.1f} ns"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab-size", type=positive, default=32_000)
    parser.add_argument("--rows", type=positive, default=8)
    parser.add_argument("--steps", type=positive, default=5)
    options = BudgetOptions(**vars(parser.parse_args()))
    torch.set_num_threads(1)
    show({"machine": cpu_name(), "vocabulary": options.vocab_size, "rows": options.rows})
    print(markdown([["weight", "budget", "measured"], *byte_rows(), *time_rows(options)], names=1))


if __name__ == "__main__":
    main()
