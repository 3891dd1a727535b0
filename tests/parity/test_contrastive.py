"""Contrastive search: the tokens and scores of a plain search, alone, in company and when blocks run out."""

from typing import Any

import pytest
import torch

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Wanted
from beamhouse.engine.logits.registered.registry import Registry
from tests.parity.against_plain import NEGATIVE, NUM_NEW, asked, assert_crowd_gets_the_same, assert_same, small_engine
from tests.parity.models import FAMILIES, reference, served
from tests.parity.plain.contrastive import contrastive
from tests.parity.plain.task import Found, Task
from tests.parity.rounding import drift
from tests.parity.running import SETTINGS, alone, engine_of, prompt, run, submission

SEVERAL_ENDS = {"eos_token_id": [2, 17, 30, 45]}
CASES: dict[str, dict[str, Any]] = {
    "four candidates": {"penalty_alpha": 0.6, "top_k": 4},
    "two, several ends": {"penalty_alpha": 0.3, "top_k": 2} | SEVERAL_ENDS,
    "contrast alone": {"penalty_alpha": 1.0, "top_k": 6},
    "processors": {
        "penalty_alpha": 0.5, "top_k": 5, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 6,
        "suppress_tokens": [9, 10],
    } | SEVERAL_ENDS,
    "forced end": {"penalty_alpha": 0.5, "top_k": 3, "forced_eos_token_id": 2},
    "guided": {"penalty_alpha": 0.4, "top_k": 3, "guidance_scale": 1.5},
}  # fmt: skip


def expected_of(family: str, prompt_ids: list[int], fields: dict[str, Any], seed: int = 0) -> list[Found]:
    return [contrastive(Task(family, prompt_ids, fields, NUM_NEW, NEGATIVE))]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_alone_equals_a_plain_search(family: str, case: str) -> None:
    for seed, length in ((1, 1), (2, 5), (3, 37)):
        prompt_ids = prompt(seed, length, family)
        fields = CASES[case] | {"output_scores": True, "output_logits": True}
        answer = alone(engine_of(family), asked(family, prompt_ids, fields))
        assert_same(answer, expected_of(family, prompt_ids, CASES[case]))
        assert engine_of(family).cache.num_used == 0


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_in_company_with_chunked_prompts_and_too_few_blocks_equals_a_plain_search(family: str) -> None:
    engine = small_engine(family, max_rows=24, step_tokens=24, cache_tokens=8 * 40)
    assert_crowd_gets_the_same(family, engine, CASES, expected_of)


def test_each_step_streams_one_token() -> None:
    engine, (found,) = engine_of("llama"), expected_of("llama", prompt(2, 5, "llama"), CASES["four candidates"])
    engine.submit(asked("llama", prompt(2, 5, "llama"), CASES["four candidates"]))
    pieces = []
    while engine.has_work:
        pieces.append([token for one in engine.step().requests for tokens in one.tokens for token in tokens.token_ids])
    # The step that reads the prompt has only candidates.
    assert pieces == [[], *([token] for token in found.token_ids)]


def test_transition_scores_are_those_the_tokens_were_drawn_from() -> None:
    prompt_ids = prompt(3, 9, "llama")
    (found,) = expected_of("llama", prompt_ids, CASES["processors"])
    wanted = Wanted(transition_scores=True, normalize_logits=True, top_n_tokens=1)
    answer = alone(engine_of("llama"), asked("llama", prompt_ids, CASES["processors"], wanted=wanted))
    rows = torch.stack(found.scores).log_softmax(-1)
    expected = rows[torch.arange(len(rows)), found.token_ids]
    torch.testing.assert_close(torch.tensor(answer.scores[0]), expected, rtol=0.0, atol=drift(rows))
    assert [best[0].token_id for best in answer.top_tokens[0]] == rows.argmax(-1).tolist()


def test_low_memory_changes_nothing() -> None:
    prompt_ids, fields = prompt(5, 12, "llama"), CASES["four candidates"]
    usual, sparing = (
        alone(engine_of("llama"), asked("llama", prompt_ids, fields | {"low_memory": low})) for low in (False, True)
    )
    assert usual.sequences == sparing.sequences


def test_a_cancelled_request_frees_its_candidates() -> None:
    engine = engine_of("llama")
    one = asked("llama", prompt(5, 12, "llama"), CASES["guided"])
    engine.submit(one)
    for _ in range(4):
        engine.step()
    assert engine.cache.num_used
    engine.cancel([one.request_id])
    assert engine.cache.num_used == 0
    assert not engine.has_work


def test_hidden_states_of_nan_fail_their_request_alone() -> None:
    model = served("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[150] = torch.nan
    _, engine = assemble(model, SETTINGS, Extensions(Registry({}, {}), {}))
    # The bias makes the poisoned token one of the candidates, not the only one.
    bad = asked("llama", [5, 9], {"penalty_alpha": 0.6, "top_k": 4, "sequence_bias": [[[150], 50.0]]})
    good = asked("llama", [5, 9, 33], CASES["four candidates"] | {"suppress_tokens": [150]})
    answers = run(engine, {0: [bad, good]})
    assert answers[bad.request_id].finished.error_code == "request_failed"
    found = contrastive(Task("llama", [5, 9, 33], CASES["four candidates"] | {"suppress_tokens": [150]}, NUM_NEW))
    assert answers[good.request_id].sequences == [found.token_ids]


def test_the_contrast_leads_away_from_greedy_search() -> None:
    prompt_ids = [reference("builtin").config.bos_token_id, 300, 301]
    plain = alone(engine_of("builtin"), submission("builtin", prompt_ids, {"max_new_tokens": NUM_NEW}))
    strong = alone(engine_of("builtin"), asked("builtin", prompt_ids, {"penalty_alpha": 0.9, "top_k": 8}))
    assert plain.sequences != strong.sequences
