"""Log-probabilities of the model's own logits, in every mode: log-softmax of what `output_logits` has there."""

from typing import Any

import pytest
import torch

from beamhouse.engine.link.messages import TopToken, Wanted
from tests.fuzz.library import engine_of
from tests.parity.every_mode import FAMILY, MODES, PENALTIES, asked
from tests.parity.rounding import assert_close
from tests.parity.running import Answer, alone, submission

SHAPED = PENALTIES | {"output_logits": True, "output_scores": True}
GUIDED_BEAMS = {"num_beams": 2, "num_return_sequences": 2, "guidance_scale": 1.6, "max_new_tokens": 9}


def answered(name: str, **wanted: Any) -> Answer:
    wish = asked(name, SHAPED)
    return alone(engine_of(FAMILY), wish.submission(FAMILY, wanted=Wanted(transition_scores=True, **wanted)))


def told(answer: Answer, index: int) -> tuple[list[float | None], list[list[TopToken]]]:
    """The scores and likeliest tokens of one sequence. A search tells them with its end."""
    ranking = answer.rankings.get(index)
    if ranking is None:
        return answer.scores[index], answer.top_tokens[index]
    return ranking.scores, ranking.top_tokens


def rows_of(answer: Answer, index: int, name: str) -> torch.Tensor:
    """What each token of a sequence was chosen from, (L, V)."""
    steps = range(len(answer.token_ids[index]))
    ranking = answer.rankings.get(index)
    rows = [index] * len(steps) if ranking is None else ranking.beam_indices
    return answer.tensor(name)[list(steps), rows]


def assert_told_from_logits(answer: Answer) -> None:
    assert any(answer.sequences)
    for index, token_ids in answer.token_ids.items():
        logprobs = rows_of(answer, index, "logits").log_softmax(-1)
        scores, tops = told(answer, index)
        assert_close(torch.tensor(scores), logprobs.gather(1, torch.tensor(token_ids)[:, None])[:, 0])
        best = logprobs.topk(3)
        assert [[top.token_id for top in position] for position in tops] == best.indices.tolist()
        assert_close(torch.tensor([[top.logprob for top in position] for position in tops]), best.values)


@pytest.mark.parametrize("name", MODES)
def test_they_are_told_from_the_logits(name: str) -> None:
    answer = answered(name, top_n_tokens=3, raw=True)
    assert_told_from_logits(answer)
    processed = answered(name, top_n_tokens=3)
    assert processed.sequences == answer.sequences
    assert any(told(processed, index) != told(answer, index) for index in answer.token_ids)


def test_guidance_does_not_count_with_beams() -> None:
    wanted = Wanted(transition_scores=True, top_n_tokens=3, raw=True)
    one = submission(FAMILY, [5, 9, 33], GUIDED_BEAMS | SHAPED, wanted=wanted, negative_prompt_ids=[7, 11])
    assert_told_from_logits(alone(engine_of(FAMILY), one))


@pytest.mark.parametrize("name", ["greedy", "beams"])
def test_not_normalized_they_are_the_logits_themselves(name: str) -> None:
    answer = answered(name, raw=True, normalize_logits=False)
    for index, token_ids in answer.token_ids.items():
        logits = rows_of(answer, index, "logits")
        scores, _ = told(answer, index)
        assert scores == logits.gather(1, torch.tensor(token_ids)[:, None])[:, 0].tolist()
