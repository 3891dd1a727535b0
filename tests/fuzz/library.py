"""Random requests against `generate()`, each alone: `python -m tests.fuzz.library --seed 1 --seconds 600`.

Tokens have to be equal, and the scores of searches within rounding. Where they are not the library is asked again with
logits that are off by as little as the order of sums may move them: if its own answer changes, it decides nothing.
"""

import argparse
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache

import torch
import transformers

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from tests.fuzz.expected import Expected, expected_of, shaken, why_not
from tests.fuzz.requests import MODES, Asked, Dice, Requests
from tests.parity.allowing import TEXT, TOKENIZER_JSON, token_bytes
from tests.parity.drafting import assisted_engine
from tests.parity.models import served
from tests.parity.running import SETTINGS, Answer, alone

FAMILIES = ("llama", "builtin", "gpt2", "qwen3")
_LACKING = {"builtin": {"drafted"}, "gpt2": {"own layers"}}
"""The tests have no second draft model for one, the library cannot leave the other early."""
_RAISED_FOR_A_ROW = ("constraint is unsatisfiable", "found invalid values")
_RAISED_AT_THE_LAST_BEAM = "probability tensor contains"
"""Beams are drawn from nothing where none leads on, though some have ended: they are the answer here."""
_NUM_SHAKES = 8
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Verdict:
    """word: "equal", "near tie", "different", or why the two cannot be compared. detail: of a difference."""

    word: str
    detail: str = ""


@cache
def engine_of(family: str) -> Engine:
    """With a draft model of the family; the built-in model has its tokenizer instead."""
    if family != "builtin":
        return assisted_engine(family)
    extensions = Extensions(Registry({}, {}, token_bytes()), {}, TOKENIZER_JSON, text=TEXT)
    return assemble(served(family), SETTINGS, extensions)[1]


def asked_of(family: str, number: int) -> Asked:
    """The request of a number, the same for ever."""
    modes = [mode for mode in MODES if mode not in _LACKING.get(family, ())]
    return Requests(Dice(f"{family} {number}"), family, modes).draw()


def judge(family: str, number: int) -> Verdict:
    """Hold the request of this number against the library."""
    asked = asked_of(family, number)
    reason = why_not(asked)
    if reason is not None:
        return Verdict(reason)
    answer = alone(engine_of(family), asked.submission(family))
    assert answer.finished is not None
    try:
        expected = expected_of(asked, family)
    except (RuntimeError, ValueError) as error:
        # It raises for a whole batch where one row has nothing to draw from, or nothing that its callable allows; and
        # with `top_h` where one beam has no token left.
        known = (*_RAISED_FOR_A_ROW, *([_RAISED_AT_THE_LAST_BEAM] if asked.mode == "drawn beams" else ()))
        if answer.finished.error is not None or any(words in str(error) for words in known):
            return Verdict("the library raises")
        return Verdict("different", f"the library raises {type(error).__name__}: {error}; here {answer.sequences}")
    if answer.finished.error is not None and expected.is_hopeless:
        return Verdict("nothing to choose from")
    if is_same(answer, expected):
        return Verdict("equal")
    for seed in range(_NUM_SHAKES):
        with shaken(family, seed):
            if not is_close(expected_of(asked, family), expected):
                return Verdict("near tie")
    return Verdict("different", describe(asked, answer, expected))


def is_same(answer: Answer, expected: Expected) -> bool:
    assert answer.finished is not None
    if answer.finished.error is not None:
        return False
    return is_close(Expected(answer.sequences, [one.score for one in answer.rankings.values()]), expected)


def is_close(one: Expected, other: Expected) -> bool:
    """Whether the tokens of two answers are equal, and the scores nearly. Of the other, rows may be filled up."""
    for own, row in zip(one.token_ids, other.token_ids, strict=True):
        if own != row[: len(own)] or set(row[len(own) :]) - {other.pad}:
            return False
    return all(
        abs(own - score) <= _TOLERANCE * max(1, abs(score)) for own, score in zip(one.totals, other.totals, strict=True)
    )


def describe(asked: Asked, answer: Answer, expected: Expected) -> str:
    assert answer.finished is not None
    lines = {
        "mode": asked.mode,
        "prompt_ids": asked.prompt_ids,
        "fields": asked.fields,
        "outside": asked.outside,
        "here": answer.finished.error or answer.sequences,
        "library": expected.token_ids,
        "scores here": [one.score for one in answer.rankings.values()],
        "scores of the library": expected.totals,
    }
    return "\n".join(f"    {name}: {value}" for name, value in lines.items())


def command_of(family: str, number: int) -> str:
    return f"OMP_NUM_THREADS=1 python -m tests.fuzz.library --family {family} --seed {number} --count 1"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="number of the first request")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="most requests of each model")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--family", choices=FAMILIES, action="append", help="models to ask; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    words: Counter[str] = Counter()
    deadline = time.monotonic() + options.seconds
    for number in range(options.seed, options.seed + options.count):
        for family in options.family or FAMILIES:
            verdict = judge(family, number)
            words[verdict.word] += 1
            if verdict.word == "different":
                print(f"{command_of(family, number)}\n{verdict.detail}", flush=True)
        if time.monotonic() > deadline:
            break
    print(", ".join(f"{count} {word}" for word, count in words.most_common()))
    return int(words["different"] > 0)


if __name__ == "__main__":
    sys.exit(main())
