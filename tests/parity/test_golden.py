"""Every decoding mode against what transformers 4.45 and 4.55 answered: tokens, scores and where they came from.

`golden/README.md` tells how the answers were made, and what the two versions do differently from today's library.
"""

import copy
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from transformers import GenerationConfig as LibraryConfig

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission, Wanted
from beamhouse.engine.loading.draft_models import Assistant
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.schemas.generation.modes import GenerationMode
from tests.parity.drafting import right_drafts
from tests.parity.golden import answer as golden
from tests.parity.golden.case import Case, read_cases
from tests.parity.golden.models import DRAFT, FAMILIES, draft, sha256_of
from tests.parity.models import reference, served
from tests.parity.rounding import drift, times_as_far
from tests.parity.running import SETTINGS, Answer, run, submission, until_end

CASES = {case.id: case for case in read_cases()}
OLD, NEW = golden.VERSIONS
BEAMS = {"beam_search", "beam_sample", "group_beam_search", "constrained_beam_search"}
NUM_STEPS = 23
"""Requests join over so many steps."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Answers of these versions that later ones do not give.

    Their cases are held against the versions that are left, and where none is, against the installed library.
    """

    reason: str
    covers: Callable[[Case], bool]
    versions: tuple[str, ...] = (OLD,)


SUPERSEDED = (
    Superseded(
        "since 4.50 the last step of beam sampling keeps the first candidates drawn, not the best of all drawn",
        lambda case: case.mode == "beam_sample",
    ),
    Superseded(
        "since 4.47 the watermark comes behind temperature and the cuts",
        lambda case: case.mode == "sample" and "watermarking_config" in case.fields,
    ),
    Superseded(
        "until 4.49 beam search went on where an end token was the best candidate of a step, though it was finished",
        lambda case: case.mode == "beam_search" and "exponential_decay_length_penalty" in case.fields,
    ),
    Superseded(
        "5.x draws drafts from scores that the temperature and the cuts have shaped twice, 4.x once",
        lambda case: case.draft is not None and "temperature" in case.fields,
        golden.VERSIONS,
    ),
)


@cache
def engine_for(family: str) -> Engine:
    """An engine that has the draft model too."""
    assistants = {DRAFT: Assistant(copy.deepcopy(draft(family)))}
    _, engine = assemble(served(family), SETTINGS, Extensions(Registry({}, {}), {}, assistants=assistants))
    return engine


def asked(case: Case) -> Submission:
    """The case as a request; the settings of the draft model are its own fields here."""
    return submission(
        case.family,
        case.prompt_ids,
        case.fields | (case.draft or {}) | {"output_scores": True},
        seed=case.seed,
        wanted=Wanted(transition_scores=True, normalize_logits=False),
        assistant_model=DRAFT if case.draft is not None else None,
        negative_prompt_ids=case.negative_prompt_ids or None,
    )


@cache
def answers_of(family: str) -> dict[str, Answer]:
    """All cases of a model, run together in one engine, joining at different steps."""
    arrivals: dict[int, list[Submission]] = {}
    names = {}
    for number, case in enumerate(one for one in CASES.values() if one.family == family):
        one = asked(case)
        names[one.request_id] = case.id
        arrivals.setdefault((number * 5) % NUM_STEPS, []).append(one)
    return {names[request_id]: answer for request_id, answer in run(engine_for(family), arrivals).items()}


def answer_to(case: Case) -> Answer:
    answer = answers_of(case.family)[case.id]
    assert answer.finished is not None
    assert answer.finished.error is None, answer.finished
    return answer


def writes_first_end(version: str, case: Case) -> bool:
    """Whether a search wrote the first end token at every end, whichever ended it. Group and constrained ones always
    did, the others until 4.49; the score at that place is that of the wrong token then."""
    return case.mode in BEAMS and (version == OLD or case.mode in {"group_beam_search", "constrained_beam_search"})


def close(actual: Seq[float | None], expected: Seq[float | str], largest: float) -> None:
    """largest: of all scores of the answer, which a sum of any of them passes through."""
    given = torch.tensor([float("-inf") if value is None else value for value in actual])
    wanted = torch.tensor([float(value) for value in expected])
    torch.testing.assert_close(given, wanted, rtol=0.0, atol=drift(torch.tensor(largest)))


def largest_of(expected: golden.Answer) -> float:
    values = [abs(float(value)) for step in expected.scores for row in step for _, value in row]
    return max(value for value in values if value != float("inf"))


def every_case() -> list[object]:
    """All cases with both versions, less those where its answer is superseded."""
    return [
        pytest.param(version, case, id=f"{version}, {case.id}")
        for version in golden.VERSIONS
        for case in CASES.values()
        if not any(one.covers(case) and version in one.versions for one in SUPERSEDED)
    ]


@pytest.mark.parametrize(("version", "case"), every_case())
def test_tokens_equal(version: str, case: Case) -> None:
    expected, ends = golden.golden_of(version).answers[case.id], case.end_ids
    answer = answer_to(case)
    sequences = answer.sequences
    if writes_first_end(version, case):
        sequences = [golden.with_first_end(sequence, ends) for sequence in sequences]
    assert sequences == [until_end(sequence, ends) for sequence in expected.sequences]
    for index, sequence in enumerate(answer.sequences):
        reason = answer.reasons[index]
        assert (reason.type, reason.token_id) == (
            ("eos_token", sequence[-1]) if sequence[-1] in ends else ("length", None)
        )


@pytest.mark.parametrize(("version", "case"), every_case())
def test_scores_of_sequences_and_their_tokens_equal(version: str, case: Case) -> None:
    expected = golden.golden_of(version).answers[case.id]
    answer = answer_to(case)
    largest = largest_of(expected)
    for index, sequence in enumerate(answer.sequences):
        scores = answer.scores[index]
        if case.mode in BEAMS:
            ranking = answer.rankings[index]
            scores = ranking.scores
            assert expected.sequences_scores is not None
            farther = times_as_far(len(sequence), case.fields.get("length_penalty", 1.0))
            close([ranking.score], [expected.sequences_scores[index]], largest * farther)
            if expected.beam_indices is not None:
                assert ranking.beam_indices == expected.beam_indices[index][: len(sequence)]
        if expected.transition_scores is not None:
            if case.mode == "constrained_beam_search":
                scores = running_totals(scores)
            same = num_same(sequence, expected.sequences[index])
            close(scores[:same], expected.transition_scores[index][:same], largest)


def num_same(sequence: list[int], expected: list[int]) -> int:
    """How many tokens have comparable scores: all, or all but an end token that the library has put in the place."""
    return len(sequence) - (sequence[-1] != expected[len(sequence) - 1])


def running_totals(scores: list[float | None]) -> list[float | None]:
    """A constrained search of 4.x hands out the sums so far where others hand out what was added."""
    return torch.tensor([float("-inf") if score is None else score for score in scores]).cumsum(0).tolist()


@pytest.mark.parametrize(("version", "case"), every_case())
def test_likeliest_scores_of_every_row_equal(version: str, case: Case) -> None:
    expected = golden.golden_of(version).answers[case.id]
    scores = answer_to(case).tensor("scores")
    num_compared = 0
    for step, rows in zip(scores, expected.scores, strict=False):
        for row, tops in zip(step, rows, strict=True):
            if not row.isnan().all():  # the library goes on scoring rows that have ended
                close([row[token].item() for token, _ in tops], [value for _, value in tops], largest_of(expected))
                num_compared += 1
    assert num_compared >= min(len(expected.scores), scores.shape[0])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", golden.VERSIONS)
def test_the_models_are_those_the_answers_were_made_with(version: str, family: str) -> None:
    weights = golden.golden_of(version).weights
    assert sha256_of(reference(family)) == weights[family]
    assert sha256_of(draft(family)) == weights[f"{family}-{DRAFT}"]


@pytest.mark.parametrize("version", golden.VERSIONS)
def test_every_mode_and_case_has_an_answer(version: str) -> None:
    assert golden.golden_of(version).transformers == version
    assert golden.golden_of(version).answers.keys() == CASES.keys()
    for family in FAMILIES:
        assert {case.mode for case in CASES.values() if case.family == family} == set(GenerationMode)
    assert all(golden.golden_of(version).answers[name].mode == case.mode for name, case in CASES.items())


@pytest.mark.parametrize("mode", GenerationMode)
def test_one_of_several_end_tokens_ends_some_sequence_of_each_mode(mode: str) -> None:
    ended = set()
    for case in CASES.values():
        if case.mode == mode and len(case.end_ids) > 1:
            rows = golden.golden_of(NEW).answers[case.id].sequences
            ended |= {case.id for row in rows if set(row) & set(case.end_ids)}
    assert ended


def live(case: Case) -> list[list[int]]:
    """The answer of the installed library, up to the end tokens, where its draft model reads the right context."""
    drafting = copy.deepcopy(draft(case.family))
    for name, value in (case.draft or {}).items():
        setattr(drafting.generation_config, name, value)
    prompt = torch.tensor([case.prompt_ids])
    model: Any = reference(case.family)  # the library leaves `generate` untyped
    torch.manual_seed(case.seed)
    with torch.inference_mode(), right_drafts():
        rows = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=LibraryConfig(**case.fields),
            assistant_model=drafting if case.draft is not None else None,
        )
    return [until_end(row[len(case.prompt_ids) :].tolist(), case.end_ids) for row in rows]


def superseded_everywhere() -> list[Case]:
    return [case for case in CASES.values() for one in SUPERSEDED if one.covers(case) and NEW in one.versions]


@pytest.mark.parametrize("case", superseded_everywhere(), ids=lambda case: case.id)
def test_what_no_golden_version_gives_equals_the_installed_library(case: Case) -> None:
    assert answer_to(case).sequences == live(case)


@pytest.mark.parametrize("rule", SUPERSEDED, ids=lambda rule: rule.reason)
def test_what_is_superseded_really_differs(rule: Superseded) -> None:
    covered = [case for case in CASES.values() if rule.covers(case)]
    later = {case.id: live(case) if NEW in rule.versions else rows_of(NEW, case) for case in covered}
    for version in rule.versions:
        assert any(rows_of(version, case) != later[case.id] for case in covered)


def rows_of(version: str, case: Case) -> list[list[int]]:
    return [until_end(row, case.end_ids) for row in golden.golden_of(version).answers[case.id].sequences]


@pytest.mark.parametrize("mode", sorted(BEAMS))
def test_4_x_writes_the_first_end_token_where_another_ended(mode: str) -> None:
    differing = [
        case.id
        for case in CASES.values()
        if case.mode == mode and writes_first_end(OLD, case) and len(case.end_ids) > 1
        for sequence in answer_to(case).sequences
        if sequence[-1] in case.end_ids[1:]
    ]
    assert differing
