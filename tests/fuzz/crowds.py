"""Random crowds: requests of all kinds and terms, when they come and go, and an engine that is tight for them."""

from collections.abc import Sequence as Seq
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from beamhouse.config.settings import EngineSettings
from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Named, Submission, Wanted
from beamhouse.engine.loading.draft_models import Assistant
from beamhouse.engine.loading.files import BUILTIN_DRAFT
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from tests.fuzz.requests import DRAFT, Asked, Dice, Requests
from tests.parity.allowing import TEXT, TOKENIZER_JSON, token_bytes
from tests.parity.drafting import draft_model
from tests.parity.models import served
from tests.parity.running import SETTINGS

LONGEST_PROMPT = 80
"""What `Requests` draws at most."""


class Leaning:
    """A registered processor: what it adds follows from the tokens alone."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, int(input_ids.sum()) % scores.shape[1]] += 3.0
        return scores


class Seventeen:
    """A registered criterion: ends a sequence whose tokens sum up to a multiple of 17."""

    def __call__(self, input_ids: torch.Tensor, scores: None) -> bool:
        return int(input_ids.sum()) % 17 == 0


@cache
def _draft(family: str) -> PreTrainedModel:
    if family != "builtin":
        return draft_model(family)
    return AutoModelForCausalLM.from_pretrained(BUILTIN_DRAFT, dtype=torch.float32).eval()


def make_engine(family: str, kernels: str, **settings: Any) -> Engine:
    """An engine with everything that random requests may name."""
    changed = EngineSettings(**(SETTINGS.model_dump() | {"kernels": kernels} | settings))
    text, tokenizer_json, spelled = None, None, None
    if family == "builtin":
        text, tokenizer_json, spelled = TEXT, TOKENIZER_JSON, token_bytes()
    registry = Registry({"leaning": Leaning}, {"seventeen": Seventeen}, spelled)
    assistants = {DRAFT: Assistant(deepcopy(_draft(family)), tokenizer_json)}
    return assemble(served(family), changed, Extensions(registry, {}, tokenizer_json, assistants, text=text))[1]


@dataclass(frozen=True, slots=True)
class Member:
    """One request of a crowd. cancelled_at: the step before which it is given up, if it is."""

    asked: Asked
    submission: Submission
    comes_at: int
    cancelled_at: int | None


@dataclass(frozen=True, slots=True)
class Crowd:
    """settings: of an engine that is tight for them."""

    settings: dict[str, Any]
    members: list[Member]


def draw_crowd(dice: Dice, family: str, kernels: str, modes: Seq[str], most: int = 24) -> Crowd:
    """most: members. Some are twins: the same request twice, at the same time."""
    max_new = dice.choice([6, 14, 30])
    requests = Requests(dice, family, modes, max_new)
    members: list[Member] = []
    for _ in range(dice.randint(most // 3, most)):
        asked = requests.draw()
        terms = _terms(dice, asked.mode)
        comes_at = dice.choice([0, 0, dice.randrange(40)])
        for _ in range(dice.choice([1, 1, 1, 2])):
            cancelled_at = comes_at + dice.randrange(12) if dice.maybe(0.12) else None
            members.append(Member(asked, asked.submission(family, **terms), comes_at, cancelled_at))
    settings = _settings(dice, kernels, max_new)
    return Crowd(settings, [member for member in members if member.submission.config.width <= settings["max_rows"]])


def _settings(dice: Dice, kernels: str, max_new: int) -> dict[str, Any]:
    # The kernels take whole sub-blocks of 16; torch takes anything.
    block_size = dice.choice([16, 16, 32] if kernels == "auto" else [1, 2, 5, 16])
    max_rows = dice.choice([6, 8, 12, 24])
    alone = -(-(LONGEST_PROMPT + max_new) // block_size)
    return {
        "block_size": block_size,
        "cache_tokens": block_size * dice.choice([alone + 1, alone + 1, alone * 2, alone * 3, alone * 6]),
        "max_rows": max_rows,
        "step_tokens": dice.choice([max_rows, max_rows + 5, 32, 64, 200]),
        "max_stretch": dice.choice([1.0, 1.8, 1e6, 1e6]),
        "prefix_caching": dice.maybe(0.8),
        "num_threads": dice.choice([1, 2]),
    }


def _terms(dice: Dice, mode: str) -> dict[str, Any]:
    """What a submission holds that must not change its tokens, and registered classes.

    Who drafts comes before others more often: a draft is what needs blocks all at once.
    """
    terms: dict[str, Any] = {
        "priority": dice.choice([0, 3, 5] if mode in ("lookup", "drafted", "own layers") else [0, 0, 0, 3, -2]),
        "cache_salt": dice.choice(["", "", "", "a"]),
        "is_streamed": dice.maybe(0.5),
        "wanted": Wanted(
            transition_scores=dice.maybe(0.6),
            top_n_tokens=dice.choice([0, 0, 3]),
            raw=dice.maybe(0.3),
            prompt_logprobs=dice.maybe(0.15),
            prompt_top_n_tokens=dice.choice([0, 0, 0, 0, 4]),
            progress=dice.maybe(0.1),
        ),
    }
    if dice.maybe(0.1):
        terms["logits_processor"] = [Named("leaning")]
    if dice.maybe(0.1):
        terms["stopping_criteria"] = [Named("seventeen")]
    return terms
