"""Beam searches written out plainly: what the engine finds, `generate()`, and older ones of it where it has none."""

from collections.abc import Callable
from typing import Any

import pytest

from beamhouse.engine.link.messages import Wanted
from tests.parity.golden import answer as golden
from tests.parity.golden.case import Case, read_cases
from tests.parity.plain.beams import Hypothesis, beam_search
from tests.parity.plain.constrained import constrained_beam_search
from tests.parity.plain.groups import group_beam_search
from tests.parity.plain.task import Task
from tests.parity.rounding import drift, times_as_far
from tests.parity.running import alone, engine_of, generate, prompt, submission, until_end

NUM_NEW = 12
SEVERAL_ENDS = {"eos_token_id": [2, *range(17, 50)]}
BEAMS: dict[str, dict[str, Any]] = {
    "four beams": {"num_beams": 4},
    "all returned, stops early": {"num_beams": 3, "num_return_sequences": 3, "early_stopping": True} | SEVERAL_ENDS,
    "never stops early": {"num_beams": 5, "early_stopping": "never", "length_penalty": 2.0} | SEVERAL_ENDS,
    "shorter is better": {"num_beams": 4, "num_return_sequences": 2, "length_penalty": -1.0} | SEVERAL_ENDS,
    "sums alone": {"num_beams": 2, "length_penalty": 0.0, "early_stopping": "never"} | SEVERAL_ENDS,
    "processors": {"num_beams": 4, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 6},
    "drawn": {"num_beams": 4, "do_sample": True, "top_k": 0, "num_return_sequences": 4} | SEVERAL_ENDS,
    "drawn, warped": {"num_beams": 3, "do_sample": True, "temperature": 1.4, "top_k": 20, "top_p": 0.9},
}
GROUPS: dict[str, dict[str, Any]] = {
    "two groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.8, "num_return_sequences": 4},
    "beams of their own": {
        "num_beams": 3, "num_beam_groups": 3, "diversity_penalty": 4.0, "num_return_sequences": 3,
    } | SEVERAL_ENDS,
    "groups, stop early": {
        "num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.5, "num_return_sequences": 4,
        "early_stopping": True, "length_penalty": 0.6,
    } | SEVERAL_ENDS,
    "groups, never stop early": {
        "num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.5, "early_stopping": "never",
        "length_penalty": 2.0, "repetition_penalty": 1.3, "sequence_bias": [[[7], 3.0], [[9, 11], 5.0]],
    } | SEVERAL_ENDS,
}  # fmt: skip
PHRASE = {"type": "phrasal", "token_ids": [60, 61, 62]}
CHOICE = {"type": "disjunctive", "nested_token_ids": [[70, 71], [70, 72, 73], [80]]}
CONSTRAINED: dict[str, dict[str, Any]] = {
    "a phrase": {"num_beams": 4, "num_return_sequences": 2, "force_words_ids": [[60, 61, 62]]},
    "a choice, stops early": {
        "num_beams": 4, "num_return_sequences": 3, "constraints": [CHOICE], "early_stopping": True,
    } | SEVERAL_ENDS,
    "phrases that begin alike": {"num_beams": 5, "force_words_ids": [[60, 61], [60, 63], [[60, 64], [65]]]},
    "more than there is room for": {
        "num_beams": 3, "num_return_sequences": 3, "constraints": [PHRASE, CHOICE], "force_words_ids": [[90] * 8],
    },
    "a repeating phrase, never stops early": {
        "num_beams": 4, "num_return_sequences": 2, "constraints": [{"type": "phrasal", "token_ids": [60, 60, 61]}],
        "early_stopping": "never", "length_penalty": 2.0, "min_new_tokens": 5,
    } | SEVERAL_ENDS,
}  # fmt: skip
Search = Callable[[Task, int], list[Hypothesis]]
SEARCHES: dict[str, tuple[Search, dict[str, Any]]] = {
    **{name: (beam_search, fields) for name, fields in BEAMS.items()},
    **{name: (lambda task, seed: group_beam_search(task), fields) for name, fields in GROUPS.items()},
    **{name: (lambda task, seed: constrained_beam_search(task), fields) for name, fields in CONSTRAINED.items()},
}
FAMILIES = ("llama", "gemma3", "gpt2", "builtin")
PROMPTS = ((1, 1), (2, 5), (3, 37))
"""Seeds and lengths."""


@pytest.mark.parametrize("case", SEARCHES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_search_finds_what_the_engine_finds(family: str, case: str) -> None:
    search, fields = SEARCHES[case]
    wanted = Wanted(transition_scores=True)
    for seed, length in PROMPTS:
        prompt_ids = prompt(seed, length, family)
        asked = fields | {"max_new_tokens": NUM_NEW, "output_scores": True}
        answer = alone(engine_of(family), submission(family, prompt_ids, asked, seed=seed, wanted=wanted))
        found = search(Task(family, prompt_ids, fields, NUM_NEW), seed)
        assert answer.sequences == [one.token_ids for one in found]
        for index, one in enumerate(found):
            assert answer.rankings[index].beam_indices == one.beam_indices
            farther = times_as_far(len(one.token_ids), fields.get("length_penalty", 1.0))
            most = drift(answer.tensor("scores")) * farther
            assert answer.rankings[index].score == pytest.approx(one.score, rel=0.0, abs=most)


@pytest.mark.parametrize("case", BEAMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_beam_search_finds_what_generate_finds(family: str, case: str) -> None:
    for seed, length in PROMPTS:
        prompt_ids = prompt(seed, length, family)
        expected = generate(family, prompt_ids, BEAMS[case] | {"max_new_tokens": NUM_NEW}, seed)
        found = beam_search(Task(family, prompt_ids, BEAMS[case], NUM_NEW), seed)
        assert [one.token_ids for one in found] == expected.token_ids


def golden_cases(mode: str) -> list[Any]:
    return [pytest.param(case, id=case.id) for case in read_cases() if case.mode == mode]


@pytest.mark.parametrize("version", golden.VERSIONS)
@pytest.mark.parametrize("case", golden_cases("group_beam_search"))
def test_a_plain_search_in_groups_finds_what_older_versions_found(version: str, case: Case) -> None:
    assert_as_recorded(version, case, group_beam_search(task_of(case)))


@pytest.mark.parametrize("version", golden.VERSIONS)
@pytest.mark.parametrize("case", golden_cases("constrained_beam_search"))
def test_a_plain_constrained_search_finds_what_older_versions_found(version: str, case: Case) -> None:
    assert_as_recorded(version, case, constrained_beam_search(task_of(case)))


def task_of(case: Case) -> Task:
    return Task(case.family, case.prompt_ids, case.fields, case.fields["max_new_tokens"])


def assert_as_recorded(version: str, case: Case, found: list[Hypothesis]) -> None:
    expected = golden.golden_of(version).answers[case.id]
    assert [golden.with_first_end(one.token_ids, case.end_ids) for one in found] == [
        until_end(sequence, case.end_ids) for sequence in expected.sequences
    ]
    assert [one.score for one in found] == pytest.approx(expected.sequences_scores, rel=1e-5)
