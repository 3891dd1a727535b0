"""Allowed tokens as data: lists, tries, regular expressions, JSON schemas, grammars."""

import json
import random
import re
from pathlib import Path

import pytest
import torch

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.link.messages import Constraint
from beamhouse.engine.logits.bad_rows import why_closed
from beamhouse.engine.logits.constraints import grammar_source
from beamhouse.engine.logits.constraints.constraint import Constraints
from beamhouse.engine.logits.constraints.trie import Trie, load_tries
from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.state.request import Request, Row
from beamhouse.engine.text.tokenizer import Text
from tests.engine.logits.scoring import byte_tokenizer, make_pipeline, make_request, make_row, process

TOKENIZER = byte_tokenizer()
SPELL = Text(TOKENIZER, None, {"eos_token": "<eos>"}).spelling
NUM_TOKENS = TOKENIZER.get_vocab_size()
VOCAB = NUM_TOKENS + 5
END = TOKENIZER.token_to_id("<eos>")


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    tries = {"names": Trie.build([[1, 2, 3], [1, 4]])}
    return make_pipeline(VOCAB, tries=tries, spell=SPELL)


def allowed(pipeline: Pipeline, row: Row) -> list[int]:
    scores = process(pipeline, [row], torch.zeros(1, VOCAB))
    return scores[0].isfinite().nonzero().flatten().tolist()


def write_at_random(pipeline: Pipeline, request: Request, seed: int, most: int = 400) -> str:
    """Draw allowed tokens until an end token comes."""
    generator = torch.Generator().manual_seed(seed)
    row = make_row(request, [])
    for _ in range(most):
        scores = process(pipeline, [row], torch.randn(1, VOCAB, generator=generator))
        token = int(torch.multinomial(scores.softmax(-1), 1, generator=generator))
        if token in request.config.eos_token_ids:
            return TOKENIZER.decode(row.sequence.generated_ids)
        row.sequence.token_ids.append(token)
    return TOKENIZER.decode(row.sequence.generated_ids)


def text_row(request: Request, text: str) -> Row:
    return make_row(request, TOKENIZER.encode(text).ids)


def test_a_list_allows_its_tokens_and_nothing_else_at_every_step(pipeline: Pipeline) -> None:
    request = make_request([9], (END,), Constraint(token_ids=[3, 7]))
    assert allowed(pipeline, make_row(request, [])) == [3, 7]
    assert allowed(pipeline, make_row(request, [3, 3, 7])) == [3, 7]


@pytest.mark.parametrize("constraint", [Constraint(sequences=[[1, 2, 3], [1, 4]]), Constraint(trie="names")])
def test_a_trie_leads_through_its_sequences_to_the_end_tokens(pipeline: Pipeline, constraint: Constraint) -> None:
    request = make_request([9], (END, 8), constraint)
    assert allowed(pipeline, make_row(request, [])) == [1]
    assert allowed(pipeline, make_row(request, [1])) == [2, 4]
    assert allowed(pipeline, make_row(request, [1, 4])) == [END, 8]


def test_a_sequence_that_begins_another_may_end_or_go_on(pipeline: Pipeline) -> None:
    request = make_request([9], (END,), Constraint(sequences=[[1], [1, 2]]))
    assert allowed(pipeline, make_row(request, [1])) == [END, 2]


def test_a_trie_follows_truncated_and_forked_sequences(pipeline: Pipeline) -> None:
    request = make_request([9], (END,), Constraint(sequences=[[1, 2, 3, 4], [1, 5, 6, 7]]))
    row = make_row(request, [1, 2, 3])
    assert allowed(pipeline, row) == [4]
    fork = Row(request, row.sequence.fork())
    row.sequence.token_ids[2:] = [5, 6]
    assert allowed(pipeline, row) == [7]
    fork.sequence.token_ids.append(4)
    assert allowed(pipeline, fork) == [END]


@pytest.mark.parametrize("constraint", [Constraint(sequences=[[1, 2]]), Constraint(regex="ab")])
def test_a_complete_text_without_an_end_token_fails_its_request_only(
    pipeline: Pipeline, constraint: Constraint
) -> None:
    done = [1, 2] if constraint.sequences else TOKENIZER.encode("ab").ids
    row, neighbour = make_row(make_request([9], (), constraint), done), make_row(make_request([9]), [1])
    scores = process(pipeline, [row, neighbour], torch.zeros(2, VOCAB))
    assert scores[0].isneginf().all()
    assert "no end token" in str(why_closed(row.sequence))
    assert why_closed(neighbour.sequence) is row.request.failure is None
    assert torch.equal(scores[1], torch.zeros(VOCAB))


def test_nothing_can_follow_outside_the_constraint_without_an_end_token_even_if_invalid_values_are_removed(
    pipeline: Pipeline,
) -> None:
    for constraint in (Constraint(sequences=[[1, 2]]), Constraint(regex="ab")):
        row = make_row(make_request([9], (), constraint, remove_invalid_values=True), [77])
        assert process(pipeline, [row], torch.zeros(1, VOCAB)).isneginf().all()


@pytest.mark.parametrize("constraint", [Constraint(sequences=[[1, 2]]), Constraint(regex="ab")])
def test_a_row_that_has_left_its_constraint_may_only_end_and_so_may_its_forks(
    pipeline: Pipeline, constraint: Constraint
) -> None:
    row = make_row(make_request([9], (END,), constraint, num_beams=2), [77])
    assert allowed(pipeline, row) == [END]
    fork = Row(row.request, row.sequence.ahead([1]))
    assert allowed(pipeline, fork) == [END]


def test_a_beam_that_nothing_can_follow_rules_out_all_of_its_row_alone(pipeline: Pipeline) -> None:
    request = make_request(
        [9], (), Constraint(sequences=[[1, 2], [3]]), num_beams=2, renormalize_logits=True, remove_invalid_values=True
    )
    closed, live = make_row(request, [3]), make_row(request, [1])
    scores = process(pipeline, [closed, live], torch.zeros(2, VOCAB))
    assert scores[0].isneginf().all()
    assert scores[1].argmax() == 2
    assert "no end token" in str(why_closed(closed.sequence))
    assert request.failure is None


def test_the_allowed_set_wins_over_bans_that_leave_nothing(pipeline: Pipeline) -> None:
    request = make_request([9], (END,), Constraint(sequences=[[1, 2]]), bad_words_ids=[[2]])
    assert allowed(pipeline, make_row(request, [1])) == [2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pattern", ["[a-c]{2,5}\u20ac?", "(stop|end) [0-9]+\\.", "\u00e9*x"])
def test_random_text_matches_the_regular_expression(pipeline: Pipeline, pattern: str, seed: int) -> None:
    text = write_at_random(pipeline, make_request([9], (END,), Constraint(regex=pattern)), seed)
    assert re.fullmatch(pattern, text)


@pytest.mark.parametrize("seed", range(3))
def test_random_text_obeys_the_json_schema(pipeline: Pipeline, seed: int) -> None:
    names = {"type": "array", "items": {"enum": ["near", "stop"]}, "minItems": 1, "maxItems": 3}
    schema = {
        "type": "object",
        "properties": {"names": names, "count": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["names", "count"],
        "additionalProperties": False,
    }
    text = write_at_random(pipeline, make_request([9], (END,), Constraint(json_schema=schema)), seed)
    value = json.loads(text)
    assert set(value) == {"names", "count"}
    assert set(value["names"]) <= {"near", "stop"}
    assert 0 <= value["count"] <= 99


def test_random_text_obeys_the_grammar(pipeline: Pipeline) -> None:
    request = make_request([9], (END,), Constraint(grammar='start: "(" start ")" | "x"'))
    text = write_at_random(pipeline, request, 0, most=200)
    depth = text.count("(")
    assert text.startswith("(" * depth)
    assert text in ("(" * depth + "x" + ")" * depth, "(" * depth + "x" + ")" * text.count(")"), "(" * depth)


def test_end_tokens_are_allowed_where_the_text_may_end_and_only_there(pipeline: Pipeline) -> None:
    ordinary = TOKENIZER.token_to_id("c")
    request = make_request([9], (END, ordinary), Constraint(regex="(ab|c)+"))
    assert not {END, ordinary} & set(allowed(pipeline, make_row(request, [])))
    assert not {END, ordinary} & set(allowed(pipeline, text_row(request, "aba")))
    assert {END, ordinary} <= set(allowed(pipeline, text_row(request, "abab")))


def test_a_grammar_may_name_the_token_that_ends_it(pipeline: Pipeline) -> None:
    request = make_request([9], (END,), Constraint(grammar='start: "ab" <eos>'))
    assert END not in allowed(pipeline, make_row(request, []))
    assert allowed(pipeline, text_row(request, "ab")) == [END]


def test_grammars_follow_truncated_and_forked_sequences(pipeline: Pipeline) -> None:
    request = make_request([9], (END,), Constraint(regex="a[xy]b|c[yz]d"))
    row = text_row(request, "ax")
    b, d, z = (TOKENIZER.token_to_id(char) for char in "bdz")
    assert allowed(pipeline, row) == [b]
    fork = Row(request, row.sequence.fork())
    row.sequence.token_ids[1:] = TOKENIZER.encode("cz").ids
    assert allowed(pipeline, row) == [d]
    assert z not in allowed(pipeline, fork)
    assert allowed(pipeline, fork) == [b]


def test_a_vocabulary_smaller_than_the_tokenizers_is_enough() -> None:
    pipeline = make_pipeline(200, spell=SPELL)
    row = make_row(make_request([9], (END,), Constraint(regex="a+")), [])
    scores = process(pipeline, [row], torch.zeros(1, 200))
    assert scores[0].isfinite().nonzero().flatten().tolist() == [TOKENIZER.token_to_id("a")]


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (Constraint(trie="far"), "allowed: 0 to"),
        (Constraint(regex="(a"), "unclosed group"),
        (Constraint(regex="a" * 70_000), "at most 65536"),
        (Constraint(json_schema={"type": "thing"}), "Invalid type"),
        (Constraint(json_schema={"$ref": "http://localhost/x"}), "not present"),
        (Constraint(json_schema={"type": "array", "uniqueItems": True}), "uniqueItems"),
        (Constraint(json_schema={"properties": {"a": {"type": "string", "nullable": True}}}), "nullable"),
        (Constraint(json_schema={"type": "string", "format": "colour"}), "colour"),
        (Constraint(json_schema={"const": "a" * 70_000}), "at most 65536"),
        (Constraint(json_schema="[]"), "is an object"),
        (Constraint(json_schema={"type": "string", "maxLength": 3, "minLength": 5}), "minLength"),
        (Constraint(regex="ab?" * 20_000), "too big"),
        (Constraint(regex="(?=a)b"), "look-around"),
        (Constraint(grammar='start: %json {"type": "array", "contains": {}}'), "contains"),
        (Constraint(grammar='start: %json {"kind": "array"}'), "kind"),
        (Constraint(grammar="start: <nope>"), "<nope>"),
        (Constraint(grammar='{"grammars": []}'), "expecting rule"),
        (Constraint(grammar="start: " + "(" * 30_000), "deeply nested"),
        (Constraint(grammar="start: /[/"), "unclosed character class"),
        (Constraint(grammar='start: "a" other'), "other"),
    ],
)
def test_a_constraint_that_cannot_be_obeyed_is_refused_by_name(constraint: Constraint, words: str) -> None:
    tries = {"far": Trie.build([[1, VOCAB]])}
    with pytest.raises(InvalidRequest) as caught:
        Constraints(VOCAB, tries, SPELL).compile(constraint)
    (problem,) = caught.value.problems
    is_text = problem.code in ("invalid_grammar", "not_supported")
    assert problem.field == (f"prefix_allowed_tokens.{constraint.kind}" if is_text else "prefix_allowed_tokens")
    assert words in problem.message


@pytest.mark.parametrize("pattern", ["a{1000}{1000}{1000}", "(a|b)*a(a|b){20}x", "(.*.*.*)*x"])
def test_costly_patterns_are_refused_or_fail_only_their_request(pipeline: Pipeline, pattern: str) -> None:
    request = make_request([9], (END,), Constraint(regex=pattern))
    try:
        text = write_at_random(pipeline, request, 0, most=30)
    except (InvalidRequest, RuntimeError):  # torch refuses to draw from the row of a failed request
        return
    assert len(text) <= 30 * 20


def test_grammars_are_refused_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar_source, "llguidance", None)
    with pytest.raises(InvalidRequest, match="llguidance"):
        Constraints(VOCAB, {}, SPELL).compile(Constraint(regex="a"))


def test_tries_are_read_from_json_files(tmp_path: Path) -> None:
    good, bad, empty = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "empty.json"
    good.write_text("[[1, 2], [3]]")
    bad.write_text('[["a"]]')
    empty.write_text("[]")
    trie = load_tries({"one": good})["one"]
    assert sorted(trie.root.children) == [1, 3]
    assert trie.largest_id == 3
    for file in (bad, empty):
        with pytest.raises(ValueError, match=file.name):
            load_tries({"one": file})


def test_a_trie_walk_equals_a_filter_over_its_sequences(pipeline: Pipeline) -> None:
    rng = random.Random(5)
    sequences = [[rng.randrange(4) + 1 for _ in range(rng.randint(1, 5))] for _ in range(30)]
    request = make_request([9], (END,), Constraint(sequences=sequences))
    for sequence in sequences:
        for length in range(len(sequence)):
            begun = sequence[:length]
            going_on = [one for one in sequences if one[:length] == begun]
            expected = {one[length] if len(one) > length else END for one in going_on}
            assert set(allowed(pipeline, make_row(request, begun))) == expected
