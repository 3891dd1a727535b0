"""Grammars over every kind of tokenizer: the decoded text is one that is allowed."""

import json
import random
import re

import pytest
from tokenizers import Tokenizer, decoders, models

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.link.messages import Constraint
from beamhouse.engine.logits.constraints.constraint import AllowedText, Constraints
from beamhouse.engine.logits.constraints.grammar_source import GrammarError
from beamhouse.engine.logits.constraints.matching import Matcher
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.model_info import TokenizerSwitches
from tests.engine.text.tiny_tokenizers import FAMILIES, SPECIAL, end_of_word

KINDS = {**FAMILIES, "end_of_word": end_of_word}
ANY_TEXT = ("byte_level", "llama2", "gemma")
EASY = ["(the|bear|house)+", "the (bear|house)\\.", "[a-z ]{1,20}", "(a|b|ab)*c", "(\u00e9|\u00fc){1,3}", "it's|do not"]
HARD = [" the bears?", "a</s>b", "  x?a", "</s>|<s>|<unk>x", "\\s+a", "\U0001f389+", '"<tool>"', "a\nb|\t"]
SCHEMA = {
    "type": "object",
    "properties": {"<s>": {"const": "</s>"}, "a b": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}},
    "required": ["<s>", "a b"],
    "additionalProperties": False,
}


def constraints(kind: str, clean_up: bool = False) -> tuple[Text, Constraints]:
    text = Text(KINDS[kind](), None, SPECIAL, TokenizerSwitches(clean_up=clean_up))
    return text, Constraints(text.num_ids + 7, {}, text.spelling)


def start_of(compiler: Constraints, constraint: Constraint) -> Matcher:
    compiled = compiler.compile(constraint)
    assert isinstance(compiled, AllowedText)
    return compiled.start


def draw(start: Matcher, seed: int, most: int = 60) -> tuple[list[int], bool]:
    """Random tokens that are allowed, and whether the text came to its end. There is always something allowed."""
    dice, matcher, token_ids = random.Random(seed), start, []
    for _ in range(most):
        allowed, may_end = matcher.options()
        choices = allowed.nonzero()[0].tolist()
        assert choices or may_end
        if may_end and (not choices or dice.random() < 0.3):
            return token_ids, True
        token_ids.append(dice.choice(choices))
        following = matcher.advanced(token_ids[-1:])
        assert following is not None
        matcher = following
    return token_ids, False


@pytest.mark.parametrize("clean_up", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_random_text_matches_as_it_is_decoded(kind: str, clean_up: bool) -> None:
    text, compiler = constraints(kind, clean_up)
    for pattern in [*EASY, *(HARD if kind in ANY_TEXT else [])]:
        start = start_of(compiler, Constraint(regex=pattern))
        ended = [ids for ids, is_over in (draw(start, seed) for seed in range(8)) if is_over]
        assert ended
        for token_ids in ended:
            stream = text.stream()
            streamed = stream.push(token_ids) + stream.finish()
            assert streamed == text.decode(token_ids)
            assert re.fullmatch(pattern, streamed), (pattern, token_ids)


@pytest.mark.parametrize("kind", ANY_TEXT)
def test_json_may_spell_special_tokens(kind: str) -> None:
    text, compiler = constraints(kind)
    for seed in range(5):
        token_ids, is_over = draw(start_of(compiler, Constraint(json_schema=SCHEMA)), seed, 200)
        assert is_over
        value = json.loads(text.decode(token_ids))
        assert value["<s>"] == "</s>"
        assert set(value) == {"<s>", "a b"}


def test_random_expressions_are_matched_by_every_kind() -> None:
    dice = random.Random(11)
    kinds = {kind: constraints(kind) for kind in KINDS}

    def part(depth: int) -> str:
        if depth == 0:
            return dice.choice(["the", "bear", "a", " ", "[a-e]", "b", "\\.", "house"])
        one, other = part(depth - 1), part(depth - 1)
        return dice.choice([f"{one}{other}", f"({one}|{other})", f"({one}){{1,2}}", f"({one})?{other}", f"({one})+"])

    num_ended = 0
    for number in range(60):
        pattern, (text, compiler) = part(3), kinds[dice.choice(list(kinds))]
        try:
            start = start_of(compiler, Constraint(regex=pattern))
        except InvalidRequest:  # no token begins it
            continue
        token_ids, is_over = draw(start, number)
        num_ended += is_over
        assert not is_over or re.fullmatch(pattern, text.decode(token_ids)), (pattern, token_ids)
    assert num_ended > 20


def test_what_no_token_spells_is_refused_and_dead_ends_are_left_out() -> None:
    vocabulary = {word: at for at, word in enumerate(["<unk>", "a", "b", "x", "y", "ab"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.decoder = decoders.Fuse()
    text = Text(tokenizer, None, {"unk_token": "<unk>"})
    compiler = Constraints(10, {}, text.spelling)
    with pytest.raises(InvalidRequest, match="cannot spell any text"):
        compiler.compile(Constraint(regex="xyz"))
    allowed, may_end = start_of(compiler, Constraint(regex="xyz|abab|yxq?")).options()
    assert allowed.nonzero()[0].tolist() == [1, 4, 5]
    assert not may_end


def test_end_of_word_waits_for_what_follows() -> None:
    text, compiler = constraints("end_of_word")
    for pattern in ("bears", "bear", "the bear", "(bear)+"):
        start = start_of(compiler, Constraint(regex=pattern))
        for seed in range(10):
            token_ids, is_over = draw(start, seed)
            assert not is_over or re.fullmatch(pattern, text.decode(token_ids))


def test_equal_grammars_are_compiled_once_and_few_are_remembered() -> None:
    _, compiler = constraints("byte_level")
    first = compiler.compile(Constraint(regex="a+"))
    assert compiler.compile(Constraint(regex="a+")) is first
    assert compiler.compile(Constraint(grammar="start: /a+/")) is not first
    schema = {"type": "string"}
    compiled = compiler.compile(Constraint(json_schema=schema))
    assert compiler.compile(Constraint(json_schema=json.dumps(schema))) is compiled
    assert compiler.compile(Constraint(json_schema=schema, whitespace="free")) is not compiled
    for number in range(70):
        compiler.compile(Constraint(regex=f"a{number}"))
    assert compiler.compile(Constraint(regex="a+")) is not first


def test_long_chains_of_rules_do_not_end_the_process() -> None:
    _, compiler = constraints("byte_level")
    chain = "start: r0\n" + "\n".join(f"r{n}:r{n + 1}" for n in range(5000)) + '\nr5000:"b"'
    token_ids, is_over = draw(start_of(compiler, Constraint(grammar=chain)), 0)
    assert is_over
    assert len(token_ids) == 1


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        (Constraint(regex="a{99999}"), "too many expressions"),
        (Constraint(regex="(a{1000}){1000}"), "too many expressions"),
        (Constraint(grammar='start: "a" ~ 1000000'), "Too many items"),
        (Constraint(regex="\\"), "backslash that escapes nothing"),
        (Constraint(regex="a\\\\\\"), "backslash that escapes nothing"),
        (Constraint(regex="(?ix) a # one\n b"), "one line"),
    ],
)
def test_what_would_fail_at_its_first_steps_or_be_misread_is_refused_with_its_reason(
    constraint: Constraint, reason: str
) -> None:
    _, compiler = constraints("byte_level")
    with pytest.raises(InvalidRequest) as refused:
        compiler.compile(constraint)
    assert reason in refused.value.problems[0].message


def test_a_step_that_asks_too_much_is_an_error_with_its_reason() -> None:
    _, compiler = constraints("byte_level")
    rules = "start: /[0-9]{9}/ (" + " | ".join(f"/[a-z]+{n}/" for n in range(1500)) + ")*"
    start = start_of(compiler, Constraint(grammar=rules))
    with pytest.raises(GrammarError, match="items"):
        draw(start, 0)
