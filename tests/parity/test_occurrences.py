"""Penalties on what was generated, in every mode: the tokens of the library, which is taught the plain formula."""

from functools import cache
from typing import Any

import pytest

from beamhouse.engine.loop.engine import Engine
from tests.fuzz.expected import expected_of
from tests.fuzz.library import engine_of, is_same
from tests.fuzz.requests import DRAFT, Asked
from tests.parity.drafting import make_engine, repeating
from tests.parity.running import Answer, alone, prompt, run

FAMILY = "llama"
PENALTIES = {"frequency_penalty": 1.4, "presence_penalty": 0.8}

MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "greedy": ("greedy", {}),
    "greedy, guided": ("greedy", {"guidance_scale": 1.8}),
    "sample": ("sample", {"do_sample": True, "num_return_sequences": 3, "top_k": 0}),
    "beams": ("beams", {"num_beams": 4, "num_return_sequences": 2}),
    "drawn beams": ("drawn beams", {"num_beams": 3, "do_sample": True}),
    "groups": ("groups", {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7, "num_return_sequences": 4}),
    "constrained": ("constrained", {"num_beams": 3, "force_words_ids": [[33, 44], [[51], [60, 61]]]}),
    "contrastive": ("contrastive", {"penalty_alpha": 0.4, "top_k": 4}),
    "contrastive, guided": ("contrastive", {"penalty_alpha": 0.4, "top_k": 3, "guidance_scale": 1.5}),
    "dola": ("dola", {"dola_layers": "low"}),
    "dola, sampled": ("dola", {"dola_layers": [1], "do_sample": True, "top_k": 30}),
    "looked up": ("lookup", {"prompt_lookup_num_tokens": 4}),
    "looked up, sampled": ("lookup", {"prompt_lookup_num_tokens": 3, "do_sample": True}),
    "drafted": ("drafted", {"num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0}),
    "drafted, sampled": ("drafted", {"num_assistant_tokens": 3, "assistant_confidence_threshold": 0.0,
                                     "do_sample": True}),
    "own layers": ("own layers", {"assistant_early_exit": 1, "num_assistant_tokens": 4}),
}  # fmt: skip

SIGNS = {"above 0": PENALTIES, "below 0": {"frequency_penalty": -0.9, "presence_penalty": -1.5}}


def asked(name: str, penalties: dict[str, float]) -> Asked:
    mode, fields = MODES[name]
    number = list(MODES).index(name)
    prompt_ids = repeating(number) if mode == "lookup" else prompt(number, 3 + (number * 11) % 40, FAMILY)
    outside: dict[str, Any] = {"seed": number}
    if mode == "drafted":
        outside["assistant_model"] = DRAFT
    if "guidance_scale" in fields:
        outside |= {"negative_prompt_ids": [7, 11, 13], "num_negative_masked": 0}
    # Nothing ends early, so that tokens come again.
    return Asked(mode, prompt_ids, {"max_new_tokens": 24, "eos_token_id": []} | fields | penalties, outside)


@cache
def tight_engine() -> Engine:
    """Where not all requests fit at once, so that some give up their blocks for a while."""
    return make_engine(FAMILY, cache_tokens=24 * 16, max_stretch=1_000_000)


def assert_as_the_library(answer: Answer, wish: Asked) -> None:
    expected = expected_of(wish, FAMILY)
    assert is_same(answer, expected), (wish.fields, answer.sequences, expected.token_ids)


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("name", MODES)
def test_a_request_alone_is_penalized_in_every_mode(name: str, sign: str) -> None:
    wish = asked(name, SIGNS[sign])
    answer = alone(engine_of(FAMILY), wish.submission(FAMILY))
    assert_as_the_library(answer, wish)
    assert answer.sequences != alone(engine_of(FAMILY), asked(name, {}).submission(FAMILY)).sequences


def test_a_crowd_of_all_modes_is_penalized_where_some_give_up_their_blocks() -> None:
    wishes = [asked(name, penalties) for name in MODES for penalties in (PENALTIES, {})]
    submissions = [wish.submission(FAMILY) for wish in wishes]
    engine, before = tight_engine(), tight_engine().scheduler.num_preemptions
    answers = run(engine, {at: submissions[at * 4 : at * 4 + 4] for at in range(len(submissions) // 4)})
    assert engine.scheduler.num_preemptions > before
    for one, wish in zip(submissions, wishes, strict=True):
        assert_as_the_library(answers[one.request_id], wish)
    assert engine.cache.num_used == 0
