"""What is forced is what the model's own reader takes for calls, and arguments hold to their schemas."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.schemas.beamhouse.generate import PrefixAllowedTokens
from beamhouse.server.conversation.deltas import Turn, joined
from beamhouse.server.conversation.grammars import forced_calls, free_calls, held_answer, held_turn
from beamhouse.server.conversation.notations import schema_of
from beamhouse.server.conversation.reasoning import THINKING
from beamhouse.server.conversation.tools import Tool, ToolChoice, call_ids
from beamhouse.server.conversation.turn_format import FAMILIES, TurnFormat
from tests.server.conversation.writing import Writer

PLACES: dict[str, Any] = {
    "type": "object",
    "properties": {
        "unit": {"enum": ["km", "mi", 7, None, True]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "dry": {"type": ["boolean", "null"]},
        "at": {
            "type": "array",
            "items": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 5}, {"type": "null"}]},
        },
        "more": {
            "type": "object",
            "properties": {"x": {"const": "y z"}, "w": {"type": "boolean"}},
            "required": ["w"],
            "additionalProperties": False,
        },
        "city": {"type": "string"},
    },
    "required": ["unit", "city"],
    "additionalProperties": False,
}
TOOLS = [Tool("places", PLACES), Tool("clock")]
OFFERED = {tool.name: tool for tool in TOOLS}
MARKS = ("<tool_call>", "</tool_call>", "<think>", "</think>", "[TOOL_CALLS]", "[ARGS]", "<escape>", '<|"|>',
         "<start_function_call>", "<end_function_call>", "<|tool_call>", "<tool_call|>",
         "<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>")  # fmt: skip


@pytest.fixture(scope="module", params=["marks are text", "marks are tokens"])
def writer(request: pytest.FixtureRequest) -> Writer:
    return Writer(*(MARKS if request.param == "marks are tokens" else ()))


def turns_of(writer: Writer, family: str, reasoning: str = "none") -> TurnFormat:
    return TurnFormat.of(None, writer.special_ids, family, reasoning)


def read(turns: TurnFormat, text: str, is_inside: bool = False) -> Turn:
    reader = turns.with_calls().reader(OFFERED, call_ids("a"), is_inside)
    return joined(reader.push(text) + reader.finish())


def drawn(writer: Writer, rule: PrefixAllowedTokens, seeds: int = 3) -> Iterator[str]:
    texts = [text for seed in range(seeds) if (text := writer.drawn(rule, seed)) is not None]
    assert texts
    yield from texts


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("is_parallel", [True, False])
def test_forced_turns_are_calls_that_hold_to_their_schemas(writer: Writer, family: str, is_parallel: bool) -> None:
    turns = turns_of(writer, family)
    for text in drawn(writer, forced_calls(turns, TOOLS, is_parallel)):
        turn = read(turns, text)
        assert turn.text == "", text
        assert len(turn.calls) >= 1 if is_parallel else len(turn.calls) == 1
        for call in turn.calls:
            assert call.values is not None, call.arguments
            jsonschema.validate(call.values, schema_of(OFFERED[call.name]))


CALL = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
BAD_CALL = CALL.replace("clock", "unheard_of")


def test_forced_turns_are_nothing_else(writer: Writer) -> None:
    turns = turns_of(writer, "hermes")
    both, one = forced_calls(turns, TOOLS), forced_calls(turns, TOOLS, is_parallel=False)
    assert writer.allows(both, CALL)
    assert writer.allows(both, f"{CALL}\n{CALL}")
    assert writer.allows(one, CALL)
    for text in (f"{CALL}\n{CALL}", f"I look. {CALL}", BAD_CALL, "", CALL[:-1]):
        assert not writer.allows(one, text)
    named = forced_calls(turns, TOOLS[:1])
    assert not writer.allows(named, CALL)


def test_a_model_without_a_form_is_forced_into_plain_objects(writer: Writer) -> None:
    turns = TurnFormat.of("no form at all")
    rule = forced_calls(turns, TOOLS)
    assert writer.allows(rule, '{"name": "clock", "arguments": {}}\n{"name": "clock", "arguments": {}}')
    assert turns.with_calls().tools is FAMILIES["plain"]


@pytest.mark.parametrize("name", ["think", "mistral"])
def test_reasoning_may_stand_before_what_is_forced(writer: Writer, name: str) -> None:
    turns, thinking = turns_of(writer, "hermes", name), THINKING[name]
    rule, inside = forced_calls(turns, TOOLS), forced_calls(turns, TOOLS, is_inside=True)
    thought = f"{thinking.begin}\nHm, <tool_call>?{thinking.end}\n\n"
    assert writer.allows(rule, CALL)
    assert writer.allows(rule, thought.replace("<tool_call>", "a") + CALL)
    assert not writer.allows(rule, thought.replace("<tool_call>", "a"))
    assert writer.allows(inside, f"Hm.{thinking.end}{CALL}")
    assert not writer.allows(inside, CALL)
    answer = held_answer(turns, PrefixAllowedTokens(regex="a/b|\\d\n\\/"))
    for text in ("a/b", "7\n/", f"{thinking.begin}Hm{thinking.end}\na/b"):
        assert writer.allows(answer, text)
    assert not writer.allows(answer, f"{thinking.begin}Hm{thinking.end}\nb")
    schema = held_answer(turns, PrefixAllowedTokens(json_schema={"type": "integer"}), is_inside=True)
    assert writer.allows(schema, f"Hm.{thinking.end}\n7")
    assert not writer.allows(schema, "7")
    plain = PrefixAllowedTokens(regex="a")
    assert held_answer(TurnFormat(), plain) is plain


def test_harmony_forces_a_call_or_an_answer_behind_its_thoughts(writer: Writer) -> None:
    turns = turns_of(writer, "harmony", "harmony")
    thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    head = "<|channel|>commentary to=functions.clock <|constrain|>json<|message|>"
    rule = forced_calls(turns, TOOLS)
    assert writer.allows(rule, f"{head}{{}}")
    assert writer.allows(rule, f"{thought}{thought}{head}{{}}")
    assert not writer.allows(rule, f"{thought}<|channel|>final<|message|>No.")
    assert writer.allows(forced_calls(turns, TOOLS, is_inside=True), f"Hm.<|end|><|start|>assistant{head}{{}}")
    answer = held_answer(turns, PrefixAllowedTokens(json_schema={"type": "integer"}))
    assert writer.allows(answer, f"{thought}<|channel|>final<|message|>7")
    assert not writer.allows(answer, "7")
    free = free_calls(turns, [Tool("clock", None, is_strict=True)])
    assert free is not None
    for text in (f"{thought}<|channel|>final<|message|>Yes.", f"{thought}{head}{{}}"):
        assert writer.allows(free, text), writer.place_of_fault(free, text)
    assert not writer.allows(free, f'{head}{{"a": 1}}')
    assert read(turns, f"{thought}{head}{{}}").calls[0].name == "clock"


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.form.trigger])
def test_strict_tools_leave_the_text_free_and_hold_its_calls(writer: Writer, family: str) -> None:
    turns = turns_of(writer, family)
    strict = [Tool("places", PLACES, is_strict=True), Tool("clock")]
    rule, single = free_calls(turns, strict), free_calls(turns, strict, is_parallel=False)
    assert rule is not None
    assert single is not None
    assert free_calls(turns, TOOLS) is None
    (call, *_) = drawn(writer, forced_calls(turns, TOOLS[:1], is_parallel=False))
    trigger = FAMILIES[family].form.trigger
    for text in ("", "No call {at} all.\n", call, f"I look.\n{call}"):
        assert writer.allows(rule, text), writer.place_of_fault(rule, text)
        assert writer.allows(single, text), writer.place_of_fault(single, text)
    assert writer.allows(rule, f"{call}\nAnd {call} done")
    assert not writer.allows(single, f"{call}\n{call}")
    assert not writer.allows(rule, f"I look. {trigger} or not")
    assert [one.name for one in read(turns, f"I look.\n{call}").calls] == ["places"]


@pytest.mark.parametrize("family", ["llama3", "plain"])
def test_without_a_mark_a_brace_begins_a_strict_call(writer: Writer, family: str) -> None:
    key = "parameters" if family == "llama3" else "arguments"
    rule = free_calls(turns_of(writer, family), [Tool("clock", is_strict=True)])
    assert rule is not None
    for text in ("", "No { call } at all.\n", f'{{"name": "clock", "{key}": {{}}}}'):
        assert writer.allows(rule, text), writer.place_of_fault(rule, text)
    for text in ("{}", ' {"name": "clock"}', f'{{"name": "clock", "{key}": {{"a": 1}}}}'):
        assert not writer.allows(rule, text)


def test_one_call_at_most_holds_without_strict_tools_too(writer: Writer) -> None:
    turns = turns_of(writer, "hermes")
    rule = held_turn(turns, TOOLS, ToolChoice(is_parallel=False))
    assert rule is not None
    assert writer.allows(rule, "No call.")
    assert writer.allows(rule, CALL.replace("{}", '{"a": 1}'))
    assert not writer.allows(rule, f"{CALL}\n{CALL}")
    assert held_turn(turns_of(writer, "harmony"), TOOLS, ToolChoice(is_parallel=False)) is None


def test_a_turn_is_held_to_what_was_asked_of_its_calls_and_its_answer(writer: Writer) -> None:
    turns, seven = turns_of(writer, "hermes"), PrefixAllowedTokens(regex="7")
    assert held_turn(turns, TOOLS, ToolChoice()) is None
    assert held_turn(turns, [], ToolChoice()) is None
    assert held_turn(turns, TOOLS, ToolChoice("none"), seven) is seven
    assert held_turn(turns, [], ToolChoice(), seven) is seven
    both = held_turn(turns, TOOLS, ToolChoice(), seven)
    assert both is not None
    assert writer.allows(both, CALL)
    assert writer.allows(both, "7")
    assert not writer.allows(both, "8")
    named = held_turn(turns, TOOLS, ToolChoice.of_one("clock"), seven)
    assert named is not None
    assert writer.allows(named, CALL)
    for text in ("7", f"{CALL}\n{CALL}", CALL.replace("clock", "places")):
        assert not writer.allows(named, text)
    some = held_turn(turns, TOOLS, ToolChoice("required", ("clock",)))
    assert some is not None
    assert writer.allows(some, f"{CALL}\n{CALL}")
    channels = turns_of(writer, "harmony", "harmony")
    spoken = held_turn(channels, TOOLS, ToolChoice(), seven)
    assert spoken is not None
    assert writer.allows(spoken, "<|channel|>final<|message|>7")
    assert writer.allows(spoken, "<|channel|>commentary to=functions.clock <|constrain|>json<|message|>{}")


@pytest.mark.parametrize(
    ("tools", "choice"),
    [([], ToolChoice("required")), (TOOLS, ToolChoice.of_one("unheard_of")), ([], ToolChoice.of_one("a"))],
)
def test_a_choice_that_the_tools_do_not_allow_is_refused(tools: list[Tool], choice: ToolChoice) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        held_turn(TurnFormat(), tools, choice)
    assert refusal.value.problems[0].field == "tool_choice"
    with pytest.raises(InvalidRequest) as refusal:
        held_turn(TurnFormat(), TOOLS, ToolChoice(), PrefixAllowedTokens(json_schema={}))
    assert refusal.value.problems[0].field == "tool_choice"


@pytest.mark.parametrize(
    ("family", "parameters", "words"),
    [
        ("hermes", {"type": "array"}, "array"),
        ("gemma4", {"properties": {"a": {"type": "string", "pattern": "a"}}}, "pattern"),
        ("gemma4", {"properties": {"a": {"type": "array", "items": {"type": "string"}, "minItems": 1}}}, "minItems"),
        ("gemma4", {"properties": {"a": {}}}, "needs a type"),
        ("gemma4", {"properties": {"a": {"anyOf": []}}}, "anyOf"),
        ("gemma4", {"properties": {"a": {"$ref": "#/$defs/a"}}}, "needs a type"),
        ("tool_code", {"properties": {"class": {"type": "string"}}}, "class"),
        ("qwen_coder", {"properties": {"a": {"type": "string", "maxLength": 3}}}, "maxLength"),
        ("qwen_coder", {"properties": {}, "patternProperties": {}}, "patternProperties"),
        ("qwen_coder", {"properties": 7}, "properties"),
        ("qwen_coder", {"properties": {"a>": {"type": "string"}}}, "quotes"),
        ("gemma4", {"properties": {"a:b": {"type": "string"}}}, "quotes"),
        ("gemma4", {"properties": {"a": {"enum": ["b", 'c<|"|>']}}}, "ends strings"),
        ("function_gemma", {"properties": {"a": {"const": ["<escape>"]}}}, "ends strings"),
        ("gemma4", {"properties": {"a": {"const": {"b c": 1}}}}, "quotes"),
        ("qwen_coder", {"properties": {"a": {"enum": ["</parameter>"]}}}, "told from"),
        ("qwen_coder", {"properties": {}, "required": ["b"]}, "not among the properties"),
        ("tool_code", {"properties": {}, "required": ["b"]}, "not among the properties"),
    ],
)
def test_what_a_notation_cannot_hold_to_is_refused_by_its_name(family: str, parameters: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as refusal:
        forced_calls(TurnFormat.of(None, tool_format=family), [Tool("f", parameters)])
    assert refusal.value.problems[0].field == "tools"


@pytest.mark.parametrize(
    ("keyword", "schema"), [("uniqueItems", {"type": "array", "uniqueItems": True}), ("nullable", {"nullable": True})]
)
def test_keywords_that_no_grammar_holds_to_are_named_when_it_is_compiled(
    writer: Writer, keyword: str, schema: Any
) -> None:
    rule = forced_calls(TurnFormat(), [Tool("f", {"properties": {"a": schema}})])
    with pytest.raises(InvalidRequest, match=keyword):
        writer.allows(rule, "")


def test_tools_that_come_to_too_large_a_grammar_are_refused_by_their_name() -> None:
    large = {"properties": {f"p{number}": {"enum": ["x" * 1000]} for number in range(80)}}
    with pytest.raises(InvalidRequest, match="allowed: at most 65536") as refusal:
        forced_calls(TurnFormat(), [Tool("f", large)])
    assert (refusal.value.problems[0].field, refusal.value.problems[0].code) == ("tools", "out_of_range")


def test_what_schemas_say_to_readers_takes_no_room_in_a_grammar() -> None:
    said = {"description": "d" * 1000, "title": "t" * 1000}
    inner = {"anyOf": [{"type": "array", "items": {"type": "string"} | said}, {"type": "null"} | said]} | said
    schema = {"properties": {f"p{number}": inner for number in range(30)} | {"description": {"const": "d"}}} | said
    grammar = forced_calls(TurnFormat(), [Tool("f", schema)]).grammar or ""
    assert "dd" not in grammar
    assert "tt" not in grammar
    assert '"description": {"const": "d"}' in grammar


def test_the_text_of_a_tag_cannot_hold_what_ends_it(writer: Writer) -> None:
    turns = turns_of(writer, "qwen_coder")
    rule = forced_calls(turns, [Tool("f", {"properties": {"a": {"type": "string"}}})])
    text = "<tool_call>\n<function=f>\n<parameter=a>\nb{}\n</parameter>\n</function>\n</tool_call>"
    assert writer.allows(rule, text.format(""))
    assert writer.allows(rule, text.format("\n</param>\n"))
    assert not writer.allows(rule, text.format("</parameter>c"))


def test_names_are_written_so_that_they_are_read_again(writer: Writer) -> None:
    odd = Tool('say "\\"')
    rule = forced_calls(TurnFormat(), [odd])
    text = '{"name": "say \\"\\\\\\"", "arguments": {}}'
    assert writer.allows(rule, text)
    reader = TurnFormat().with_calls().reader({odd.name: odd}, call_ids("a"))
    assert [call.name for call in joined(reader.push(text) + reader.finish()).calls] == [odd.name]
    with pytest.raises(InvalidRequest, match="quotes"):
        forced_calls(turns_of(writer, "mistral_named"), [odd])
