"""What tokens add to a text, against the decoded whole."""

import random
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer

from beamhouse.engine.text.token_spelling import NotSpelled, Spelling
from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.model_info import TokenizerSwitches
from tests.engine.text.tiny_tokenizers import DECODERS, FAMILIES, SPECIAL, end_of_word, words

KINDS: dict[str, Callable[[], Tokenizer]] = {**FAMILIES, "end_of_word": end_of_word}

LOOKING_FURTHER = {
    "ctc", "ctc_plain", "byte_level_then_text", "bytes_unfused", "strip_ends", "replace_text", "regex_text", "nested",
    "whole_tokens",
}  # fmt: skip
"""Decoders in which what a token adds depends on several others."""


def walk(spelling: Spelling, seed: int, most: int = 12) -> tuple[list[int], bytes]:
    """Some tokens that may follow each other, and the text that their spellings say they give."""
    dice = random.Random(seed)
    place, text, token_ids = spelling.start, b"", []
    for _ in range(dice.randint(1, most)):
        table = spelling.tables[place]
        token_id = dice.randrange(len(table.spellings))
        number = table.spellings[token_id]
        is_tied = any(text.endswith(tail) and tied[token_id] for tail, tied in table.tied.items())
        is_spelled = number != spelling.never or table.silent[token_id] or token_id in table.owing
        if is_spelled and not is_tied and token_id not in spelling.special_ids:
            token_ids.append(token_id)
            text += spelling.texts[number]
            place = table.next[token_id]
    return token_ids, text


@pytest.mark.parametrize("clean_up", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_spellings_add_up_to_the_decoded_text(kind: str, clean_up: bool) -> None:
    text = Text(KINDS[kind](), None, SPECIAL, TokenizerSwitches(clean_up=clean_up))
    spelling = text.spelling(600)
    for seed in range(400):
        token_ids, spelled = walk(spelling, seed)
        try:
            expected = spelled.decode()
        except UnicodeDecodeError:  # no grammar allows it
            continue
        assert text.decode(token_ids) == expected, token_ids


@pytest.mark.parametrize("clean_up", [False, True])
@pytest.mark.parametrize("kind", DECODERS)
def test_a_rare_decoder_is_spelled_right_or_refused(kind: str, clean_up: bool) -> None:
    text = Text(words(DECODERS[kind]), None, SPECIAL, TokenizerSwitches(clean_up=clean_up))
    if kind in LOOKING_FURTHER:
        with pytest.raises(NotSpelled, match="several tokens"):
            text.spelling(60)
        return
    spelling = text.spelling(60)
    for seed in range(300):
        token_ids, spelled = walk(spelling, seed)
        if b"\xff" not in spelled and spelled.decode(errors="replace").encode() == spelled:
            assert text.decode(token_ids) == spelled.decode(), token_ids


def test_ids_without_a_token_special_tokens_and_long_ones_spell_nothing() -> None:
    tokenizer = words(None)
    tokenizer.add_tokens(["long" * 200])
    text = Text(tokenizer, None, SPECIAL)
    size = tokenizer.get_vocab_size()
    spelling = text.spelling(size + 3)
    assert spelling.tables[spelling.start].spellings[size - 1 :] == [spelling.never] * 4
    assert {spelling.texts[token_id].decode() for token_id in spelling.special_ids} == {*SPECIAL.values(), "<|call|>"}
    assert len(text.spelling(5).tables[0].spellings) == 5


def test_a_byte_level_vocabulary_knows_one_place_and_goes_on_with_any_text() -> None:
    spelling = Text(FAMILIES["byte_level"](), None, SPECIAL).spelling(600)
    assert len(spelling.tables) == 1
    assert spelling.is_complete
    assert Text(FAMILIES["llama2"](), None, SPECIAL).spelling(600).is_complete
    assert not Text(FAMILIES["unigram"](), None, SPECIAL).spelling(600).is_complete
