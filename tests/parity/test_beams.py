"""Beam search and beam sampling: the sequences, scores and beam indices of `generate()`, alone and in company."""

from typing import Any

import pytest
import torch
from transformers import AutoTokenizer
from transformers import GenerationConfig as LibraryConfig

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission, Wanted
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.text.tokenizer import Text
from tests.parity.models import BUILTIN, FAMILIES, reference, served
from tests.parity.rounding import assert_same_scores, drift, times_as_far
from tests.parity.running import SETTINGS, Answer, alone, engine_of, prompt, run, submission

NUM_NEW = 14
SEVERAL_ENDS = {"eos_token_id": [2, 17, 30, 45]}
CASES: dict[str, dict[str, Any]] = {
    "four beams": {"num_beams": 4},
    "all returned, stops early": {"num_beams": 3, "num_return_sequences": 3, "early_stopping": True} | SEVERAL_ENDS,
    "never stops early": {"num_beams": 5, "early_stopping": "never", "length_penalty": 2.0} | SEVERAL_ENDS,
    "shorter is better": {"num_beams": 4, "num_return_sequences": 2, "length_penalty": -1.0} | SEVERAL_ENDS,
    "sums alone": {"num_beams": 2, "length_penalty": 0.0} | SEVERAL_ENDS,
    "processors": {
        "num_beams": 4, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 6,
        "encoder_repetition_penalty": 1.2, "forced_eos_token_id": 2, "bad_words_ids": [[5], [6, 7]],
    },
    "renormalised bias": {"num_beams": 3, "renormalize_logits": True, "sequence_bias": [[[7], 3.0], [[9, 11], 5.0]]},
    "ends that tie": {
        "num_beams": 4, "num_return_sequences": 4, "forced_eos_token_id": [45, 2, 30, 17], "min_new_tokens": NUM_NEW,
    } | SEVERAL_ENDS,
    "drawn ends that tie": {
        "num_beams": 5, "num_return_sequences": 5, "forced_eos_token_id": [2, 17], "do_sample": True, "top_k": 2,
    } | SEVERAL_ENDS,
    "drawn": {"num_beams": 4, "do_sample": True, "top_k": 0, "num_return_sequences": 4} | SEVERAL_ENDS,
    "drawn, warped": {"num_beams": 3, "do_sample": True, "temperature": 1.4, "top_k": 20, "top_p": 0.9},
    "drawn, few left": {"num_beams": 4, "do_sample": True, "top_k": 1, "min_p": 0.5, "length_penalty": 0.6},
}  # fmt: skip


def expected_of(family: str, prompt_ids: list[int], fields: dict[str, Any], seed: int) -> Any:
    torch.manual_seed(seed)
    with torch.inference_mode():
        return reference(family).generate(
            torch.tensor([prompt_ids]),
            generation_config=LibraryConfig(
                **fields, max_new_tokens=NUM_NEW, output_scores=True, return_dict_in_generate=True
            ),
        )


def asked(family: str, prompt_ids: list[int], fields: dict[str, Any], seed: int) -> Submission:
    wanted = Wanted(transition_scores=True)
    return submission(family, prompt_ids, fields | {"max_new_tokens": NUM_NEW}, seed=seed, wanted=wanted)


def assert_same(answer: Answer, out: Any, num_prompt: int, length_penalty: float) -> None:
    assert len(answer.sequences) == len(out.sequences)
    for index, sequence in enumerate(answer.sequences):
        ranking, rows = answer.rankings[index], out.beam_indices[index]
        length = int((rows >= 0).sum())
        assert sequence == out.sequences[index, num_prompt : num_prompt + length].tolist()
        assert ranking.beam_indices == rows[:length].tolist()
        most = drift(torch.stack(out.scores)) * times_as_far(length, length_penalty)
        assert abs(ranking.score - float(out.sequences_scores[index])) <= most
        total = sum(score for score in ranking.scores if score is not None)
        assert total / length**length_penalty == pytest.approx(ranking.score, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_alone_equals_generate(family: str, case: str) -> None:
    fields = CASES[case]
    for seed, length in ((1, 1), (2, 5), (3, 37)):
        prompt_ids = prompt(seed, length, family)
        out = expected_of(family, prompt_ids, fields, seed)
        answer = alone(engine_of(family), asked(family, prompt_ids, fields, seed))
        assert_same(answer, out, length, fields.get("length_penalty", 1.0))


@pytest.mark.parametrize("family", FAMILIES)
def test_in_company_that_comes_and_goes_equals_generate(family: str) -> None:
    arrivals: dict[int, list[Submission]] = {}
    expected = {}
    for number in range(20):
        fields = list(CASES.values())[number % len(CASES)]
        prompt_ids = prompt(50 + number, 1 + (number * 7) % 40, family)
        one = asked(family, prompt_ids, fields, number)
        arrivals.setdefault((number * 5) % 17, []).append(one)
        expected[one.request_id] = prompt_ids, fields, expected_of(family, prompt_ids, fields, number)
    answers = run(engine_of(family), arrivals)
    for name, (prompt_ids, fields, out) in expected.items():
        assert_same(answers[name], out, len(prompt_ids), fields.get("length_penalty", 1.0))


@pytest.mark.parametrize("case", ["four beams", "processors", "drawn"])
def test_scores_of_every_beam_equal_the_library(case: str) -> None:
    prompt_ids = prompt(4, 9, "llama")
    out = expected_of("llama", prompt_ids, CASES[case], 4)
    answer = alone(engine_of("llama"), asked("llama", prompt_ids, CASES[case] | {"output_scores": True}, 4))
    assert_same_scores(answer.tensor("scores"), torch.stack(out.scores))


def test_normalised_scores_are_those_of_the_library() -> None:
    fields, prompt_ids = CASES["processors"], prompt(4, 9, "llama")
    out = expected_of("llama", prompt_ids, fields, 4)
    scores = reference("llama").compute_transition_scores(
        out.sequences, out.scores, out.beam_indices, normalize_logits=True
    )
    wanted = Wanted(transition_scores=True, normalize_logits=True)
    one = submission("llama", prompt_ids, fields | {"max_new_tokens": NUM_NEW}, wanted=wanted)
    ranking = alone(engine_of("llama"), one).rankings[0]
    most = drift(torch.stack(out.scores))
    torch.testing.assert_close(torch.tensor(ranking.scores), scores[0, : len(ranking.scores)], rtol=0.0, atol=most)


def test_low_memory_changes_nothing() -> None:
    prompt_ids = prompt(5, 12, "llama")
    usual, sparing = (
        alone(engine_of("llama"), asked("llama", prompt_ids, CASES["four beams"] | {"low_memory": low}, 0))
        for low in (False, True)
    )
    assert usual.sequences == sparing.sequences


def test_what_is_streamed_early_is_never_taken_back() -> None:
    engine, num_early = engine_of("llama"), 0
    for seed in range(6):
        one = asked("llama", prompt(seed, 8, "llama"), CASES["all returned, stops early"], seed)
        engine.submit(one)
        pieces: list[list[int]] = [[], [], []]
        while engine.has_work:
            outputs = engine.step()
            for tokens in outputs.requests[0].tokens if outputs.requests else ():
                pieces[tokens.sequence] += tokens.token_ids
                num_early += tokens.finish_reason is None
        out = expected_of("llama", list(one.prompt_ids), CASES["all returned, stops early"], seed)
        for index, piece in enumerate(pieces):
            assert piece == out.sequences[index, 8 : 8 + len(piece)].tolist()
    assert num_early


def test_progress_tells_the_live_hypotheses_best_first() -> None:
    engine = engine_of("llama")
    wanted = Wanted(progress=True)
    engine.submit(submission("llama", prompt(1, 5, "llama"), {"num_beams": 4, "max_new_tokens": 6}, wanted=wanted))
    seen = []
    while engine.has_work:
        seen += [one for one in engine.step().requests if one.hypotheses]
    assert [len(one.hypotheses[0].token_ids) for one in seen] == list(range(1, len(seen) + 1))
    for one in seen:
        scores = [hypothesis.score for hypothesis in one.hypotheses]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("fields", [{"num_beams": 4, "num_return_sequences": 3}, {"num_beams": 3, "do_sample": True}])
def test_a_stop_string_ends_one_hypothesis_as_in_the_library(fields: dict[str, Any]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN)
    token_bytes = Text.load(str(BUILTIN / "tokenizer.json"), None, {}).token_bytes()
    _, engine = assemble(served("builtin"), SETTINGS, Extensions(Registry({}, {}, token_bytes), {}))
    fields, ended = fields | {"stop_strings": [" little", " there", "y."]}, set()
    for seed, text in enumerate(("Once upon a time", "The dog", "She was")):
        prompt_ids = tokenizer(text).input_ids
        torch.manual_seed(seed)
        with torch.inference_mode():
            out = reference("builtin").generate(
                torch.tensor([prompt_ids]),
                tokenizer=tokenizer,
                generation_config=LibraryConfig(
                    **fields, max_new_tokens=NUM_NEW, output_scores=True, return_dict_in_generate=True
                ),
            )
        answer = alone(engine, asked("builtin", prompt_ids, fields, seed))
        assert_same(answer, out, len(prompt_ids), 1.0)
        ended |= {reason.type for reason in answer.reasons.values()}
    assert "stop_string" in ended
