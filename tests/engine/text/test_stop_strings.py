"""Texts that end before their stop string, and texts with special tokens, whatever the tokenizer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from beamhouse.engine.decoding.stopping import StopStrings
from beamhouse.engine.text.text_stream import TextStream
from beamhouse.engine.text.tokenizer import Text
from tests.engine.text.tiny_tokenizers import DECODERS, FAMILIES, SPECIAL, byte_level, end_of_word, words

TOKENIZERS: dict[str, Tokenizer] = {name: build() for name, build in FAMILIES.items()}
TOKENIZERS |= {"end_of_word": end_of_word()}
TOKENIZERS |= {name: words(decoder) for name, decoder in DECODERS.items() if name != "strip_ends"}
TEXTS = {name: Text(tokenizer, None, SPECIAL) for name, tokenizer in TOKENIZERS.items()}

steady = settings(max_examples=12)
STOPS = st.lists(
    st.one_of(st.text("ab. \n'é</s>", min_size=1, max_size=4), st.sampled_from(["there", "</s>", "e<", "ear ", " a"])),
    min_size=1,
    max_size=4,
    unique=True,
)


def cut_up(token_ids: list[int], data: st.DataObject) -> list[list[int]]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(token_ids)), max_size=6)))
    return [token_ids[start:end] for start, end in zip([0, *cuts], [*cuts, len(token_ids)], strict=True)]


def until_stopped(
    text: Text, prompt: list[int], token_ids: list[int], stops: list[str]
) -> tuple[list[int], str | None]:
    """The tokens up to the one with which the engine ends the sequence, and the string it names."""
    matcher = StopStrings.build(stops, text.token_bytes())
    for count in range(1, len(token_ids) + 1):
        known = [*prompt, *token_ids[:count]]
        if (found := matcher.completed_by_last(known[-matcher.longest - 1 :])) is not None:
            return token_ids[:count], found
    return token_ids, None


def streamed(text: Text, prompt: list[int], chunks: list[list[int]], stops: list[str], found: str | None) -> list[str]:
    shown = text.stream_before(stops, prompt)
    return [*[shown.push(chunk) for chunk in chunks], shown.finish(found)]


@pytest.mark.parametrize("name", TEXTS)
@steady
@given(data=st.data(), stops=STOPS)
def test_a_text_ends_where_its_stop_string_begins_however_it_is_cut(name: str, data: st.DataObject, stops: list[str]):
    text = TEXTS[name]
    ids = st.integers(0, TOKENIZERS[name].get_vocab_size() - 1)
    prompt, drawn = data.draw(st.lists(ids, max_size=4)), data.draw(st.lists(ids, max_size=16))
    written = text.encode([data.draw(st.text("ab there.\n'é</s>", max_size=12))], add_special_tokens=False)[0]
    token_ids, found = until_stopped(text, prompt, [*drawn[:8], *written, *drawn[8:]], stops)
    pieces = streamed(text, prompt, cut_up(token_ids, data), stops, found)
    assert "".join(pieces) == "".join(streamed(text, prompt, [token_ids], stops, found))
    if found is None:
        assert "".join(pieces) == text.decode(token_ids)
        return
    whole = b"".join(text.token_bytes_of(token_id) for token_id in token_ids)
    if text.decode(token_ids, skip_special_tokens=False).encode() == whole == text.decode(token_ids).encode():
        before = b"".join(text.token_bytes_of(token_id) for token_id in prompt)
        first = len(before) + len(whole) - len(text.token_bytes_of(token_ids[-1])) + 1 - len(found.encode())
        at = (before + whole).find(found.encode(), max(0, first)) - len(before)
        assert "".join(pieces).encode() == whole[: max(0, at)]


@steady
@given(data=st.data(), stops=STOPS)
def test_nothing_of_a_stop_string_is_shown_on_the_way(data: st.DataObject, stops: list[str]):
    text = TEXTS["byte_level"]
    written = text.encode([data.draw(st.text("ab there.\n'é", min_size=1, max_size=24))], add_special_tokens=False)[0]
    token_ids, found = until_stopped(text, [], written, stops)
    shown, told = text.stream_before(stops, []), ""
    for token_id in token_ids:
        told += shown.push([token_id])
    final = told + shown.finish(found)
    assert final.startswith(told)
    assert found is None or text.decode(token_ids).startswith(final + found)


def of(text: Text, *parts: str) -> list[int]:
    return [token_id for part in parts for token_id in text.encode([part], add_special_tokens=False)[0]]


def test_what_might_have_become_a_stop_string_is_shown_once_it_did_not():
    text = TEXTS["byte_level"]
    shown = text.stream_before(["abc"], [])
    assert [shown.push(of(text, part)) for part in ("x", "a", "b", "a", "d")] == ["x", "", "", "ab", "ad"]


@pytest.mark.parametrize(("stops", "found", "expected"), [(["ab", "b"], "ab", ""), (["b", "ab"], "b", "a")])
def test_of_stop_strings_that_overlap_the_one_that_is_named_counts(stops: list[str], found: str, expected: str):
    text = TEXTS["byte_level"]
    token_ids = of(text, "a", "b")
    assert until_stopped(text, [], token_ids, stops) == (token_ids, found)
    assert "".join(streamed(text, [], [[token_id] for token_id in token_ids], stops, found)) == expected


def test_a_stop_string_may_begin_in_the_prompt_and_in_a_special_token():
    text = TEXTS["byte_level"]
    assert streamed(text, of(text, "xa"), [of(text, "b"), of(text, "c")], ["abc"], "abc") == ["", "", ""]
    special = text.encode(["</s>"], add_special_tokens=False)[0]
    for skips, expected in ((True, "a"), (False, "a</s")):
        shown = text.stream_before([">b"], [], skips)
        assert shown.push([*of(text, "a"), *special, *of(text, "b")]) + shown.finish(">b") == expected


def test_a_long_stop_string_costs_a_token_little():
    text = TEXTS["byte_level"]
    shown = text.stream_before(["a" * 1023 + "b"] * 1, [])
    (token_id,) = of(text, "a")
    assert "".join(shown.push([token_id]) for _ in range(20_000)) == "a" * (20_000 - 1023)


@pytest.mark.parametrize("name", TEXTS)
@steady
@given(data=st.data())
def test_special_tokens_are_shown_on_demand_in_streams_and_whole(name: str, data: st.DataObject):
    text, tokenizer = TEXTS[name], TOKENIZERS[name]
    special = [tokenizer.token_to_id(token) for token in ("<s>", "</s>", "<|call|>")]
    ids = st.one_of(st.integers(0, tokenizer.get_vocab_size() + 1), st.sampled_from(special))
    token_ids = data.draw(st.lists(ids, max_size=16))
    shown: TextStream = text.stream(skip_special_tokens=False)
    pieces = [shown.push(chunk) for chunk in cut_up(token_ids, data)]
    expected = tokenizer.decode(token_ids, skip_special_tokens=False)
    assert "".join([*pieces, shown.finish()]) == expected == text.decode(token_ids, skip_special_tokens=False)


def test_the_bytes_of_a_token_are_those_that_stop_strings_are_matched_in():
    tokenizer = byte_level()
    text = Text(tokenizer, None, SPECIAL)
    assert [text.token_bytes_of(token_id) for token_id in range(tokenizer.get_vocab_size())] == text.token_bytes()
    assert text.token_bytes_of(tokenizer.get_vocab_size() + 5) == b""
