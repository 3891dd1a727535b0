"""Text that comes token by token: its pieces join to the whole, and none is taken back."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders

from beamhouse.engine.text.tokenizer import Text
from beamhouse.schemas.model_info import TokenizerSwitches
from tests.engine.text.tiny_tokenizers import DECODERS, FAMILIES, SPECIAL, byte_level, end_of_word, llama2, words

TOKENIZERS: dict[str, Tokenizer] = {name: build() for name, build in FAMILIES.items()}
TOKENIZERS |= {"end_of_word": end_of_word()}
TOKENIZERS |= {name: words(decoder) for name, decoder in DECODERS.items()}
TEXTS = {name: Text(tokenizer, None, SPECIAL) for name, tokenizer in TOKENIZERS.items()}
CLEANED = {
    name: Text(TOKENIZERS[name], None, SPECIAL, TokenizerSwitches(clean_up=True))
    for name in ("word_piece", "unigram", "none", "ctc")
}

steady = settings(max_examples=30)


def streamed(text: Text, chunks: list[list[int]]) -> str:
    stream = text.stream()
    return "".join([stream.push(chunk) for chunk in chunks]) + stream.finish()


def id_chunks(tokenizer: Tokenizer, max_size: int = 24) -> st.SearchStrategy[list[list[int]]]:
    """Random tokens, and ids outside the vocabulary, a few at a time."""
    token_ids = st.integers(0, tokenizer.get_vocab_size() + 1)
    return st.lists(st.lists(token_ids, max_size=3), max_size=max_size)


@pytest.mark.parametrize("name", TEXTS)
@steady
@given(data=st.data())
def test_pieces_of_random_tokens_join_to_the_full_decode(name: str, data: st.DataObject):
    text = TEXTS[name]
    # Stripping the end of a text shorter than what may be stripped is a panic in the library.
    start = TOKENIZERS[name].token_to_id("aa")
    chunks = [[start] if name == "strip_ends" else [], *data.draw(id_chunks(TOKENIZERS[name]))]
    assert streamed(text, chunks) == text.decode([token_id for chunk in chunks for token_id in chunk])


@pytest.mark.parametrize("name", CLEANED)
@steady
@given(data=st.data())
def test_pieces_join_to_the_cleaned_up_decode(name: str, data: st.DataObject):
    text = CLEANED[name]
    chunks = data.draw(id_chunks(TOKENIZERS[name]))
    assert streamed(text, chunks) == text.decode([token_id for chunk in chunks for token_id in chunk])


@pytest.mark.parametrize("name", FAMILIES)
@steady
@given(st.text(max_size=40))
def test_pieces_of_encoded_text_join_to_the_full_decode(name: str, written: str):
    token_ids = TEXTS[name].encode([written])[0]
    assert streamed(TEXTS[name], [[token_id] for token_id in token_ids]) == TEXTS[name].decode(token_ids)


@steady
@given(st.binary(max_size=24))
def test_any_bytes_stream_like_they_decode(data: bytes):
    for name, token_of in (("byte_level", byte_alphabet()), ("llama2", {n: f"<0x{n:02X}>" for n in range(256)})):
        token_ids = [TOKENIZERS[name].token_to_id(token_of[byte]) for byte in data]
        assert None not in token_ids
        assert streamed(TEXTS[name], [[token_id] for token_id in token_ids]) == TEXTS[name].decode(token_ids)


def byte_alphabet() -> dict[int, str]:
    """Which token is which byte, by its token's bytes."""
    pieces = enumerate(TEXTS["byte_level"].token_bytes())
    return {data[0]: TOKENIZERS["byte_level"].id_to_token(token_id) for token_id, data in pieces if len(data) == 1}


def test_a_character_appears_with_the_token_that_completes_it():
    text = TEXTS["byte_level"]
    stream = text.stream()
    of_byte = byte_alphabet()
    first, *rest = [TOKENIZERS["byte_level"].token_to_id(of_byte[byte]) for byte in "é👩".encode()]
    assert [stream.push([token_id]) for token_id in (first, *rest)] == ["", "é", "", "", "", "👩"]


def test_an_unfinished_character_is_replaced_at_the_end():
    text = TEXTS["byte_level"]
    stream = text.stream()
    token_id = TOKENIZERS["byte_level"].token_to_id(byte_alphabet()[0xC3])
    assert (stream.push([token_id]), stream.finish()) == ("", "\ufffd")


def test_words_appear_at_once():
    for name in ("byte_level", "llama2", "gemma", "word_piece", "unigram"):
        text = TEXTS[name]
        token_ids = text.encode(["there was a little bear"], add_special_tokens=False)[0]
        stream = text.stream()
        assert all(stream.push([token_id]) for token_id in token_ids)


def test_special_tokens_are_not_streamed_but_added_words_are():
    for name, tokenizer in TOKENIZERS.items():
        shown = streamed(
            TEXTS[name], [[tokenizer.token_to_id(token)] for token in ("<s>", "<tool>", "<|call|>", "</s>")]
        )
        assert "tool" in shown
        assert "<s>" not in shown
        assert "call" not in shown


@pytest.mark.parametrize("build", [byte_level, llama2, lambda: words(decoders.WordPiece())])
def test_the_last_token_costs_what_the_first_did(build):
    tokenizer = build()
    text = Text(tokenizer, None, SPECIAL, TokenizerSwitches(clean_up=True))
    token_ids = [n for n in range(tokenizer.get_vocab_size()) if n != tokenizer.token_to_id("<pad>")]
    stream = text.stream()
    times = []
    for _ in range(20):
        start = time.process_time()
        for at in range(500):
            stream.push([token_ids[at % len(token_ids)]])
        times.append(time.process_time() - start)
    assert min(times[-5:]) < 4 * min(times[:5])


def test_a_run_of_byte_tokens_is_not_decoded_again_and_again():
    tokenizer = TOKENIZERS["llama2"]
    stream = TEXTS["llama2"].stream()
    token_id = tokenizer.token_to_id("<0x0A>")
    pieces = [stream.push([token_id]) for _ in range(10_000)]
    assert set(pieces) == {""}
    assert stream.push([tokenizer.token_to_id("<tool>")]) == "\n" * 10_000 + "<tool>"


def test_a_valid_beginning_of_a_byte_run_is_revoked_by_its_end():
    """Why a run of byte tokens cannot be shown before it ends."""
    tokenizer = TOKENIZERS["llama2"]
    run = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in (0xC3, 0xA9, 0xFF)]
    assert TEXTS["llama2"].decode(run[:2]) == "é"
    assert TEXTS["llama2"].decode(run) == "\ufffd" * 3 == streamed(TEXTS["llama2"], [run])
