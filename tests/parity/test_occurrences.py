"""Penalties on what was generated, in every mode: the tokens of the library, which is taught the plain formula."""

from functools import cache

import pytest

from beamhouse.engine.loop.engine import Engine
from tests.fuzz.expected import expected_of
from tests.fuzz.library import engine_of, is_same
from tests.fuzz.requests import Asked
from tests.parity.drafting import make_engine
from tests.parity.every_mode import FAMILY, MODES, PENALTIES, asked
from tests.parity.running import Answer, alone, run

SIGNS = {"above 0": PENALTIES, "below 0": {"frequency_penalty": -0.9, "presence_penalty": -1.5}}


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
