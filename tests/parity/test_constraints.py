"""`prefix_allowed_tokens` in every mode: what `generate()` answers with the same rule as a callable."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from transformers import AutoModelForCausalLM
from transformers import GenerationConfig as LibraryConfig

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Constraint, FinishReason, Submission
from beamhouse.engine.loading.draft_models import Assistant
from beamhouse.engine.loading.files import BUILTIN_DRAFT
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.schemas.words import FinishType
from tests.parity.allowing import TEXT, TOKENIZER_JSON, callable_of, token_bytes
from tests.parity.models import reference, served
from tests.parity.plain.contrastive import contrastive
from tests.parity.plain.dola import dola
from tests.parity.plain.task import Task
from tests.parity.running import SETTINGS, Answer, alone, submission

IS_COMPLETE = FinishReason(FinishType.STOPPING_CRITERION, name="prefix_allowed_tokens")
PROMPT = [5, 6, 7, 8]
NUM_NEW = 12
END = 0

CONSTRAINTS = {
    "ids": Constraint(token_ids=[11, END]),
    "one id": Constraint(token_ids=[11]),
    "only the end": Constraint(token_ids=[END]),
    "sequences of two lengths": Constraint(sequences=[[11, 12], [13]]),
    "sequences that begin alike": Constraint(sequences=[[11], [11, 12], [14, 15, 16, 17]]),
    "one sequence": Constraint(sequences=[[11, 12, 13]]),
    "words": Constraint(regex=" (yes|no way)"),
    "a word": Constraint(regex=" cat"),
    "text of many lengths": Constraint(regex="( [a-z]+){1,3}\\."),
    "json": Constraint(json_schema={"enum": ["a", "bcd", 5]}),
    "grammar": Constraint(grammar='start: " a" | " b" " c" " d"'),
}
SEARCHES: dict[str, dict[str, Any]] = {
    "two beams": {"num_beams": 2, "num_return_sequences": 2},
    "four beams": {"num_beams": 4, "num_return_sequences": 4},
    "stops early": {"num_beams": 4, "num_return_sequences": 2, "early_stopping": True},
    "never stops early": {"num_beams": 4, "early_stopping": "never", "length_penalty": 2.0},
    "sums alone": {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 0.0},
    "shorter is better": {"num_beams": 3, "num_return_sequences": 3, "length_penalty": -1.0},
    "renormalised": {"num_beams": 4, "num_return_sequences": 4, "renormalize_logits": True},
    "forced end": {"num_beams": 4, "num_return_sequences": 4, "forced_eos_token_id": END, "max_new_tokens": 3},
    "ends too early": {"num_beams": 4, "num_return_sequences": 4, "min_new_tokens": 4},
    "drawn": {"num_beams": 3, "do_sample": True, "num_return_sequences": 3},
    "drawn, warped": {"num_beams": 4, "do_sample": True, "num_return_sequences": 4, "top_k": 3, "temperature": 1.5},
}
ROWS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "guided": {"guidance_scale": 1.5},
    "sample": {"do_sample": True, "num_return_sequences": 3, "top_k": 0},
    "lookup": {"prompt_lookup_num_tokens": 4},
    "own layers": {"assistant_early_exit": 2},
}
GROUPS = {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0, "num_return_sequences": 4}
ALLOW_11 = {"ids", "one id", "sequences of two lengths", "sequences that begin alike", "one sequence"}
FORCING = {"num_beams": 4, "num_return_sequences": 4, "force_words_ids": [[11]]}


@cache
def engine() -> Engine:
    draft = AutoModelForCausalLM.from_pretrained(BUILTIN_DRAFT, dtype=torch.float32).eval()
    assistants = {"draft": Assistant(copy.deepcopy(draft), TOKENIZER_JSON)}
    extensions = Extensions(Registry({}, {}, token_bytes()), {}, TOKENIZER_JSON, assistants, text=TEXT)
    return assemble(served("builtin"), SETTINGS, extensions)[1]


def asked(constraint: Constraint, fields: dict[str, Any], **outside: Any) -> Submission:
    return submission("builtin", PROMPT, {"max_new_tokens": NUM_NEW} | fields, seed=1, constraint=constraint, **outside)


def endless(constraint: Constraint, fields: dict[str, Any], **outside: Any) -> Submission:
    """As of a model without an end token."""
    one = asked(constraint, fields, **outside)
    return replace(one, config=one.config.changed({"eos_token_id": None, "eos_token_ids": ()}))


def reason_of(answer: Answer, index: int) -> FinishReason | None:
    return answer.reasons.get(index)


def error_of(answer: Answer) -> str | None:
    assert answer.finished is not None
    assert engine().cache.num_used == 0
    assert answer.finished.error_code in (None, "request_failed")
    return answer.finished.error


def answer_to(constraint: Constraint, fields: dict[str, Any], **outside: Any) -> Answer:
    answer = alone(engine(), asked(constraint, fields, **outside))
    assert error_of(answer) is None
    return answer


def allowed_of(constraint: Constraint) -> Any:
    return callable_of(constraint, len(PROMPT), [END], reference("builtin").config.vocab_size)


def library(constraint: Constraint, fields: dict[str, Any]) -> Any:
    torch.manual_seed(1)
    config = {"max_new_tokens": NUM_NEW} | fields
    with torch.inference_mode():
        return reference("builtin").generate(
            torch.tensor([PROMPT]),
            generation_config=LibraryConfig(**config, output_scores=True, return_dict_in_generate=True),
            prefix_allowed_tokens_fn=allowed_of(constraint),
        )


@pytest.mark.parametrize("mode", SEARCHES)
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_search_finds_what_generate_finds(name: str, mode: str) -> None:
    """Beams that were never reached, and places that stay empty, included."""
    out, answer = library(CONSTRAINTS[name], SEARCHES[mode]), answer_to(CONSTRAINTS[name], SEARCHES[mode])
    for index, (row, beams, score) in enumerate(
        zip(out.sequences.tolist(), out.beam_indices.tolist(), out.sequences_scores.tolist(), strict=True)
    ):
        length = sum(beam >= 0 for beam in beams)
        assert answer.sequences[index] == row[len(PROMPT) : len(PROMPT) + length]
        assert answer.rankings[index].beam_indices == beams[:length]
        assert answer.rankings[index].score == pytest.approx(score, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("mode", ROWS)
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_other_mode_answers_what_generate_answers(name: str, mode: str) -> None:
    out, answer = library(CONSTRAINTS[name], ROWS[mode]), answer_to(CONSTRAINTS[name], ROWS[mode])
    for sequence, row in zip(answer.sequences, out.sequences[:, len(PROMPT) :].tolist(), strict=True):
        assert sequence == row[: row.index(END) + 1 if END in row else None]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_draft_model_leads_to_what_greedy_search_finds(name: str) -> None:
    assert (
        answer_to(CONSTRAINTS[name], {"num_assistant_tokens": 5}, assistant_model="draft").sequences
        == answer_to(CONSTRAINTS[name], {}).sequences
    )


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_contrastive_search_and_dola_answer_what_a_plain_search_answers(name: str) -> None:
    allowed = allowed_of(CONSTRAINTS[name])
    for fields in ({"penalty_alpha": 0.6, "top_k": 4}, {"penalty_alpha": 0.9, "top_k": 40}):
        task = Task("builtin", PROMPT, fields, NUM_NEW, allowed=allowed)
        assert answer_to(CONSTRAINTS[name], fields).sequences == [contrastive(task).token_ids]
    for fields in ({"dola_layers": [1]}, {"dola_layers": [2, 1], "do_sample": True, "top_k": 0}):
        task = Task("builtin", PROMPT, fields, NUM_NEW, allowed=allowed)
        found = dola(task, fields["dola_layers"], 1)
        assert answer_to(CONSTRAINTS[name], fields).sequences == [one.token_ids for one in found]


@pytest.mark.parametrize("fields", [GROUPS, FORCING], ids=["groups", "constrained"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_searches_of_older_versions_return_what_is_allowed_or_nothing(name: str, fields: dict[str, Any]) -> None:
    answer, allowed = alone(engine(), asked(CONSTRAINTS[name], fields)), allowed_of(CONSTRAINTS[name])
    if error_of(answer) is not None:
        assert fields is FORCING
        assert name not in ALLOW_11
        return
    assert answer.rankings[0].score > -1e8
    for index, sequence in enumerate(answer.sequences):
        assert answer.rankings[index].score > -1e30
        for place, token in enumerate(sequence):
            assert token in allowed(0, torch.tensor(PROMPT + sequence[:place]))


@pytest.mark.parametrize("mode", [{"num_return_sequences": 3}, {"do_sample": True, "num_return_sequences": 4}])
def test_what_ended_is_returned_where_no_other_beam_can_go_on(mode: dict[str, Any]) -> None:
    """The stop string ends one sequence, the constraint the other; a third there is not."""
    one = endless(Constraint(sequences=[[11, 12], [13]]), {"num_beams": 4, "stop_strings": ["*"]} | mode)
    answer = alone(engine(), one)
    assert token_bytes()[12] == b"*"
    assert error_of(answer) is None
    ended = {tuple(sequence): reason_of(answer, index) for index, sequence in enumerate(answer.sequences[:2])}
    assert ended == {(11, 12): FinishReason(FinishType.STOP_STRING, stop_string="*"), (13,): IS_COMPLETE}
    assert answer.rankings[1].score > -1e8 > answer.rankings[2].score > -1e30


@pytest.mark.parametrize(
    "mode",
    [*ROWS.values(), SEARCHES["four beams"], SEARCHES["drawn"], GROUPS, {"penalty_alpha": 0.6, "top_k": 4}],
    ids=str,
)
@pytest.mark.parametrize("name", ["sequences of two lengths", "one sequence", "words", "a word", "json", "grammar"])
def test_what_is_complete_ends_a_sequence_without_an_end_token(name: str, mode: dict[str, Any]) -> None:
    """As a stopping criterion would; that of which nothing is complete yet ends by its length."""
    constraint = CONSTRAINTS[name]
    answer, follows = alone(engine(), endless(constraint, mode)), allowed_of(constraint)
    assert error_of(answer) is None
    assert reason_of(answer, 0) == IS_COMPLETE
    for index, sequence in enumerate(answer.sequences):
        if reason_of(answer, index) == IS_COMPLETE:
            assert follows(0, torch.tensor(PROMPT + sequence)) == [END]
        for place, token in enumerate(sequence):
            assert token != END
            assert index or token in follows(0, torch.tensor(PROMPT + sequence[:place]))


@pytest.mark.parametrize("mode", [{}, {"do_sample": True}], ids=str)
@pytest.mark.parametrize("name", ["one sequence", "words", "json"])
def test_a_draft_ends_where_the_text_is_complete(name: str, mode: dict[str, Any]) -> None:
    constraint = CONSTRAINTS[name]
    answer = alone(engine(), endless(constraint, mode, assistant_model="draft"))
    assert error_of(answer) is None
    assert reason_of(answer, 0) == IS_COMPLETE
    assert allowed_of(constraint)(0, torch.tensor(PROMPT + answer.sequences[0])) == [END]


@pytest.mark.parametrize("constraint", [Constraint(regex=""), Constraint(regex="(|)"), Constraint(grammar='start: ""')])
def test_the_empty_text_alone_needs_an_end_token(constraint: Constraint) -> None:
    answer = alone(engine(), endless(constraint, {}))
    assert answer.finished is not None
    assert answer.finished.error_code == "invalid_request"
    assert "give eos_token_id" in str(answer.finished.problems)
    assert answer_to(constraint, {}).sequences == [[END]]


def test_greedy_search_fails_rather_than_break_the_constraint() -> None:
    answer = alone(engine(), asked(Constraint(sequences=[[11, 12]]), {"suppress_tokens": [12]}))
    assert error_of(answer) == "no token can be chosen from the model's scores"


def test_where_all_is_ruled_out_a_search_is_empty_as_in_the_library() -> None:
    fields = SEARCHES["four beams"] | {"suppress_tokens": list(range(reference("builtin").config.vocab_size))}
    answer = alone(engine(), submission("builtin", PROMPT, fields | {"max_new_tokens": NUM_NEW}))
    with torch.inference_mode():
        config = LibraryConfig(**fields, max_new_tokens=NUM_NEW, output_scores=True, return_dict_in_generate=True)
        out = reference("builtin").generate(torch.tensor([PROMPT]), generation_config=config)
    assert out.sequences[:, len(PROMPT) :].tolist() == answer.sequences == [[]] * 4
    assert [ranking.score for ranking in answer.rankings.values()] == out.sequences_scores.tolist()
    assert {reason.type for reason in answer.reasons.values()} == {"length"}


def test_a_search_fails_by_name_rather_than_return_nothing_that_is_allowed() -> None:
    fields = SEARCHES["four beams"] | {"suppress_tokens": [12]}
    answer = alone(engine(), asked(Constraint(sequences=[[11, 12]]), fields))
    assert error_of(answer) == "prefix_allowed_tokens: nothing that it allows was found"
