"""Text to token ids and back, as the library does it, and tokenizers and texts that break it."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.generation.stopping_criteria import StopStringCriteria

from beamhouse.engine.link.errors import InvalidRequest, ModelUnsupported, RequestFailed
from beamhouse.engine.text.tokenizer import Text
from tests.engine.text.tiny_tokenizers import FAMILIES, SPECIAL, byte_level, end_of_word, loaded, save, words

steady = settings(max_examples=30)
BUILDERS = {**FAMILIES, "end_of_word": end_of_word, "none": lambda: words(None)}


@pytest.fixture(scope="module", params=[(name, clean_up) for name in BUILDERS for clean_up in (False, True)], ids=str)
def pair(request, tmp_path_factory) -> tuple[Text, PreTrainedTokenizerBase]:
    """Ours and the library's, from the same files."""
    name, clean_up = request.param
    directory = tmp_path_factory.mktemp(name)
    save(BUILDERS[name](), directory, clean_up_tokenization_spaces=clean_up)
    return loaded(directory, directory / "work"), AutoTokenizer.from_pretrained(directory)


@steady
@given(written=st.text(max_size=60))
def test_encoding_equals_the_library(pair, written: str):
    text, library = pair
    for special in (True, False):
        assert text.encode([written], special) == [library(written, add_special_tokens=special).input_ids]


@steady
@given(data=st.data())
def test_decoding_equals_the_library(pair, data: st.DataObject):
    text, library = pair
    token_ids = data.draw(st.lists(st.integers(0, len(library) + 2), max_size=30))
    for skip in (True, False):
        assert text.decode(token_ids, skip) == library.decode(token_ids, skip_special_tokens=skip)


@pytest.mark.parametrize("name", FAMILIES)
def test_token_bytes_are_what_the_library_matches_stop_strings_against(name: str, tmp_path: Path):
    text = Text.load(str(save(FAMILIES[name](), tmp_path)), None, SPECIAL)
    library = AutoTokenizer.from_pretrained(tmp_path)
    mode = StopStringCriteria._get_stop_string_matching_mode(library)
    pieces, token_ids = StopStringCriteria.clean_tokenizer_vocab(library, stop_string_matching_mode=mode)
    ours = text.token_bytes()
    assert len(ours) == max(token_ids) + 1
    for piece, token_id in zip(pieces, token_ids, strict=True):
        assert ours[token_id] == (piece if isinstance(piece, bytes) else piece.encode())


def test_token_bytes_of_word_suffixes_are_those_of_the_text():
    """The library would match each token as a word of its own."""
    tokenizer = end_of_word()
    text = Text(tokenizer, None, SPECIAL)
    token_ids = text.encode(["there was a little bear"], add_special_tokens=False)[0]
    assert b"".join(text.token_bytes()[n] for n in token_ids) == b"there was a little bear "


@pytest.mark.parametrize("name", ["byte_level", "gemma"])
@steady
@given(written=st.text(max_size=40))
def test_token_bytes_of_a_text_join_to_its_bytes(name: str, written: str):
    tokenizer = TOKENIZERS[name]
    token_ids = tokenizer.encode_batch([written], add_special_tokens=False)[0].ids
    written = tokenizer.decode(token_ids)
    assert b"".join(TEXTS[name].token_bytes()[n] for n in token_ids) == written.encode()


TOKENIZERS = {name: FAMILIES[name]() for name in ("byte_level", "gemma")}
TEXTS = {name: Text(tokenizer, None, {}) for name, tokenizer in TOKENIZERS.items()}


def test_token_text_keeps_the_leading_space_and_shows_broken_bytes():
    tokenizer, text = TOKENIZERS["gemma"], TEXTS["gemma"]
    assert text.token_text(tokenizer.token_to_id("▁there")) == " there"
    assert text.token_text(tokenizer.token_to_id("<0xC3>")) == "\ufffd"
    assert text.token_text(tokenizer.token_to_id("</s>")) == "</s>"
    assert text.token_text(tokenizer.get_vocab_size() + 5) == ""


def test_special_tokens_the_file_lacks_are_added_as_the_library_does(tmp_path):
    special = {"eos_token": "<end>", "pad_token": "a"}
    file = save(words(decoders.Fuse()), tmp_path, special)
    text, library = Text.load(str(file), None, special), AutoTokenizer.from_pretrained(tmp_path)
    token_ids = library("b<end>a").input_ids
    assert text.encode(["b<end>a"]) == [token_ids]
    assert text.decode(token_ids) == library.decode(token_ids, skip_special_tokens=True) == "b"


def test_padding_and_truncation_stored_in_the_file_are_not_applied(tmp_path):
    tokenizer = byte_level()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=3)
    text = Text.load(str(save(tokenizer, tmp_path)), None, SPECIAL)
    short, long = text.encode(["a", "a very long sentence"])
    assert len(short) == 2
    assert len(long) > 5


def test_other_threads_run_while_a_long_text_is_encoded():
    text = Text(byte_level(), None, SPECIAL)
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (text.encode(["There was a bear. " * 30_000]), ended.set()))
    thread.start()
    num_ticks = 0
    while not ended.wait(0.001):
        num_ticks += 1
    thread.join()
    assert num_ticks > 10  # with the interpreter lock held all the time: none or one


@pytest.mark.parametrize("written", ["\ud800", "ok \udfff", "a" * 1000 + "\ud83d"])
def test_text_with_lone_surrogates_is_refused_by_field_and_place(written: str):
    with pytest.raises(InvalidRequest) as caught:
        TEXTS["gemma"].encode(["fine", written], field="messages")
    (problem,) = caught.value.problems
    assert (problem.field, problem.code) == ("messages", "not_unicode")
    assert f"character {len(written) - 1} " in problem.message


def panicking() -> Tokenizer:
    tokenizer = byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.FixedLength(0)
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 0, 1)])
    return tokenizer


def test_a_panic_while_encoding_fails_the_request_alone(capfd):
    with pytest.raises(InvalidRequest, match="inputs: tokenizer: chunk size"):
        Text(panicking(), None, SPECIAL).encode(["a"])
    assert "panicked" in capfd.readouterr().err


def test_a_panic_while_decoding_fails_the_request_alone(capfd):
    with pytest.raises(RequestFailed, match="out of bounds"):
        Text(panicking(), None, SPECIAL).decode([])
    assert "panicked" in capfd.readouterr().err


def test_text_the_tokenizer_has_no_token_for_is_refused():
    with pytest.raises(InvalidRequest, match="inputs: tokenizer: "):
        Text(Tokenizer(models.WordLevel({"a": 0}, unk_token="<none>")), None, {}).encode(["b"])


@pytest.mark.parametrize("token_id", [-1, 2**32, 2**70])
def test_numbers_that_are_no_token_ids_are_refused(token_id: int):
    for call in (TEXTS["gemma"].decode, TEXTS["gemma"].stream().push):
        with pytest.raises(InvalidRequest, match="token_ids: "):
            call([token_id])


BROKEN = {
    "missing": None,
    "empty": "",
    "no_json": "{",
    "other_json": "[1, 2]",
    "no_model": json.dumps({"version": "1.0", "model": {"type": "Unheard"}}),
    "bad_merge": json.dumps({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a q"]}}),
    "no_unicode": b"\xff\xfe\x00",
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_tokenizer_file_is_refused_while_loading(name: str, tmp_path: Path):
    file = tmp_path / "tokenizer.json"
    content = BROKEN[name]
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelUnsupported, match=r"tokenizer\.json is no usable tokenizer"):
        Text.load(str(file), None, {})


def test_a_tokenizer_that_panics_is_refused_while_loading(tmp_path: Path, capfd):
    file = save(panicking(), tmp_path)
    with pytest.raises(ModelUnsupported, match="chunk size"):
        Text.load(str(file), None, {})
    assert "panicked" in capfd.readouterr().err


def test_loading_imports_neither_torch_nor_transformers(tmp_path: Path):
    file = save(byte_level(), tmp_path)
    program = (
        "import sys; from beamhouse.engine.text.tokenizer import Text;"
        f"text = Text.load({str(file)!r}, '{{{{ messages[0].content }}}}', {SPECIAL!r});"
        "text.token_bytes(); text.stream(); text.render_chat([{'content': 'a'}]); text.heal(text.encode(['a b'])[0]);"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
