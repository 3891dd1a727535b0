"""Random requests of every mode answer as the library does; `python -m tests.fuzz.library` asks more of them."""

import pytest

from tests.fuzz.library import FAMILIES, command_of, judge

NUM_REQUESTS = 12


@pytest.mark.filterwarnings("ignore")  # the library warns of fields that go badly together
@pytest.mark.parametrize("family", FAMILIES)
def test_random_requests_answer_as_generate(family: str) -> None:
    verdicts = {number: judge(family, number) for number in range(NUM_REQUESTS)}
    different = {number: verdict for number, verdict in verdicts.items() if verdict.word == "different"}
    assert not different, "\n".join(f"{command_of(family, number)}\n{one.detail}" for number, one in different.items())
    words = [verdict.word for verdict in verdicts.values()]
    assert words.count("equal") >= NUM_REQUESTS // 2
    assert words.count("near tie") <= 1
