"""All nine modes, guidance and watermarks in one batch: each request gets what it gets alone, in shared steps."""

import pytest

from beamhouse.engine.link.messages import Submission
from tests.parity.mixed import REQUESTS, alone, asked, engine, fields_of, prompt_of
from tests.parity.running import Answer, generate, run, submission

LIVE = (
    "greedy", "greedy, processors", "greedy, guided", "greedy, marked", "sample", "sample, three", "sample, guided",
    "sample, marked", "beams", "beams, several ends", "beams, marked", "drawn beams", "drawn beams, all",
)  # fmt: skip
"""Those that the installed library answers; the golden files hold what others are compared with."""


def test_every_mode_in_one_batch_answers_as_alone_and_shares_its_forward_passes() -> None:
    lone = alone()
    steps_alone = sum(longest(answer) for answer in lone.values())
    arrivals: dict[int, list[Submission]] = {}
    names: dict[str, str] = {}
    for number, name in enumerate(REQUESTS):
        one = asked(name)
        names[one.request_id] = name
        arrivals.setdefault((number * 7) % 11, []).append(one)
    before = engine()._num_steps
    together = {names[request_id]: answer for request_id, answer in run(engine(), arrivals).items()}
    num_steps = engine()._num_steps - before
    for name, answer in together.items():
        assert answer.finished is not None
        assert answer.finished.error is None, name
        assert answer.sequences == lone[name].sequences, name
        assert answer.reasons == lone[name].reasons, name
        for index, ranking in answer.rankings.items():
            assert ranking.beam_indices == lone[name].rankings[index].beam_indices, name
            assert ranking.score == pytest.approx(lone[name].rankings[index].score, rel=1e-5, abs=1e-5), name
    assert len(REQUESTS) >= 24
    # Alone they would take all their steps one after another; together hardly more than the longest of them.
    assert num_steps < steps_alone / 5
    assert engine().cache.num_used == 0


def longest(answer: Answer) -> int:
    return max(len(sequence) for sequence in answer.sequences)


@pytest.mark.parametrize("name", LIVE)
def test_what_the_library_has_equals_it(name: str) -> None:
    expected = generate("llama", prompt_of(name), fields_of(name), seed=len(name))
    assert alone()[name].sequences == expected.token_ids


@pytest.mark.parametrize(("drafted", "plain"), [("drafted, guided", "guided"), ("own layers", "greedy")])
def test_greedy_drafts_change_no_token(drafted: str, plain: str) -> None:
    fields = {"guidance_scale": 1.5} if plain == "guided" else {}
    fields = fields | {"max_new_tokens": fields_of(drafted)["max_new_tokens"]}
    one = submission("llama", prompt_of(drafted), fields)
    assert run(engine(), {0: [one]})[one.request_id].sequences == alone()[drafted].sequences
