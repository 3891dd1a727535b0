"""Whatever a text holds, its pieces come to what the whole text comes to, and nothing of it is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamhouse.engine.text.tokenizer import Text
from beamhouse.server.conversation.deltas import CallArguments, CallBegin, CallEnd, TextDelta, joined
from beamhouse.server.conversation.reasoning import THINKING
from beamhouse.server.conversation.tools import call_ids
from beamhouse.server.conversation.turn_format import FAMILIES, TurnFormat
from tests.engine.logits.scoring import byte_tokenizer
from tests.server.conversation.cutting import PIECES, TOOLS, check_calls, deltas, turn

FORMS = [TurnFormat.of(None, tool_format=name, reasoning_format="think") for name in FAMILIES]


@pytest.mark.parametrize("form", FORMS, ids=list(FAMILIES))
@given(parts=st.lists(PIECES, max_size=12), is_inside=st.booleans())
def test_any_pieces_come_to_the_same(form: TurnFormat, parts: list[str], is_inside: bool) -> None:
    text = "".join(parts)
    whole = deltas(form, [text], is_inside=is_inside)
    check_calls(whole)
    for pieces in (parts, list(text)):
        told = deltas(form, pieces, is_inside=is_inside)
        check_calls(told)
        assert joined(told) == joined(whole)


@given(st.text())
def test_a_turn_without_any_form_is_its_text(text: str) -> None:
    assert turn(TurnFormat(), text).text == text
    assert "".join(delta.text for delta in deltas(TurnFormat(), list(text)) if isinstance(delta, TextDelta)) == text


def test_arguments_are_told_while_they_arrive() -> None:
    reader = TurnFormat.of(None, tool_format="hermes").reader(TOOLS, call_ids("a"))
    assert reader.push('Well <tool_call>{"name": "weather", "arguments": ') == [TextDelta("Well")]
    (begin, first) = reader.push('{"city": "Os')
    assert begin == CallBegin(0, call_ids("a")(0), "weather")
    assert first == CallArguments(0, '{"city": "Os')
    assert reader.push("lo") == [CallArguments(0, "lo")]
    assert reader.push('"}}') == [CallArguments(0, '"}'), CallEnd(0)]
    assert reader.finish() == []


def test_ids_follow_from_the_sequence_and_the_place_of_a_call() -> None:
    ids = {call_ids(seed)(index) for seed in ("a", "b") for index in range(3)}
    assert len(ids) == 6
    assert call_ids("a")(1) == call_ids("a")(1)
    assert len(call_ids("a", 9)(0)) == 9
    assert call_ids("a", 9)(0).isalnum()


def test_special_tokens_that_mark_nothing_are_taken_out_where_others_had_to_be_kept() -> None:
    form = TurnFormat.of("<tool_call>", {"<tool_call>": 1, "</tool_call>": 2, "<|im_end|>": 3})
    assert form.needs_special_tokens
    told = turn(form, 'Hm <tool_call>{"name": "clock", "arguments": {}}</tool_call><|im_end|>')
    assert (told.text, [call.name for call in told.calls]) == ("Hm", ["clock"])
    assert turn(form, "the end<|im_end|>").text == "the end"
    assert not TurnFormat.of("<tool_call>", {"<|im_end|>": 3}).needs_special_tokens


THOUGHTS = [(thinking.name, thinking.begin, thinking.end) for thinking in THINKING.values()]


@pytest.mark.parametrize(("name", "begin", "end"), THOUGHTS)
def test_thoughts_are_reasoning_and_the_white_space_around_them_is_nobodys(name: str, begin: str, end: str) -> None:
    form = TurnFormat.of(None, reasoning_format=name)
    told = turn(form, f"{begin}\nA city,\n\nso weather.\n{end}\n\nIt rains.\n")
    assert (told.reasoning, told.text) == ("A city,\n\nso weather.", "It rains.\n")
    assert turn(form, f"{begin}\n\n{end}\n\nIt rains.").text == "It rains."
    assert turn(form, f"A city.{end} It rains.", is_inside=True).reasoning == "A city."
    assert turn(form, f"So {begin}a{end}").text == ("So" if name == "harmony" else f"So {begin}a{end}")
    assert turn(form, f" {begin}never done").reasoning == "never done"


@pytest.mark.parametrize(("name", "begin", "end"), THOUGHTS)
def test_the_prompt_says_whether_a_turn_begins_inside_the_thoughts(name: str, begin: str, end: str) -> None:
    form = TurnFormat.of(f"a template with {begin}")
    assert form.reasoning is THINKING[name]
    assert form.begins_inside(f"a{begin}b{end}c<|im_start|>assistant\n{begin}")
    assert not form.begins_inside(f"a<|im_start|>assistant\n{begin}\n\n{end}\n\n")
    assert not form.begins_inside("a")


def test_calls_inside_thoughts_are_thoughts() -> None:
    form = TurnFormat.of("<think> <tool_call>")
    call = '<tool_call>{"name": "clock", "arguments": {}}</tool_call>'
    told = turn(form, f"<think>{call}</think>{call}")
    assert told.reasoning == call
    assert len(told.calls) == 1


def test_a_template_tells_whether_it_begins_the_thoughts_itself() -> None:
    template = (
        "{% if add_generation_prompt %}assistant: {% if thinking %}<think>{% else %}<think></think>{% endif %}"
        "{% endif %}"
    )
    text = Text(byte_tokenizer(), template, {"eos_token": "<eos>"})
    form = TurnFormat.of(template)
    assert form.is_opened(text, {"thinking": True}) is True
    assert form.is_opened(text) is False
    assert form.is_opened(text, {"unheard_of": True}) is False
    assert TurnFormat().is_opened(text) is False
