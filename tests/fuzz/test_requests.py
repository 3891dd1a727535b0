"""The random requests are valid, the same for the same seed, and leave no field of the engine out."""

import pytest

from beamhouse.engine.logits import pipeline
from tests.fuzz.requests import MODES, Asked, Dice, Requests


def draw(seed: str, number: int, family: str = "llama") -> list[Asked]:
    requests = Requests(Dice(seed), family)
    return [requests.draw() for _ in range(number)]


def test_a_seed_draws_the_same_requests_again() -> None:
    assert draw("a", 30) == draw("a", 30) != draw("b", 30)


def test_every_mode_and_every_field_of_the_processors_is_drawn() -> None:
    asked = draw("all", 2000)
    drawn = {name for one in asked for name in one.fields}
    assert {one.mode for one in asked} == set(MODES)
    assert drawn >= pipeline.FIELDS


@pytest.mark.parametrize("family", ["llama", "builtin"])
def test_what_is_drawn_is_a_submission(family: str) -> None:
    for one in draw("valid", 200, family):
        assert one.submission(family, priority=3).priority == 3
