"""Tokenizers that come without `tokenizer.json`: what is converted, and what is turned away in one line."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers import AutoTokenizer

from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.loading.tokenizer import load_tokenizer
from tests.engine.text.tiny_tokenizers import TEXTS, loaded

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "bear", "##s", "there", "was", ",", "."]
BYTES = ["<s>", "</s>", "a", "b", "e", "r", "Ġ", "be", "ar", "bear"]
SENTENCES = ["there was a  bear, there .", "bears </s> a [SEP] \u6771!", ""]


def pieces(kind: str) -> bytes:
    """A SentencePiece model of a few sentences."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[:2] * 3), model_writer=written, model_type=kind, vocab_size=90,
        hard_vocab_limit=False, byte_fallback=False, minloglevel=2,
    )  # fmt: skip
    return written.getvalue()


FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "word pieces": ("BertTokenizer", {"vocab.txt": "\n".join(WORDS)}),
    "word pieces in Python": ("BertTokenizerLegacy", {"vocab.txt": "\n".join(WORDS)}),
    "bytes": (
        "GPT2Tokenizer",
        {
            "vocab.json": json.dumps({token: number for number, token in enumerate(BYTES)}),
            "merges.txt": "#version: 0.2\nb e\na r\nbe ar\n",
        },
    ),
    "SentencePiece": ("LlamaTokenizer", {"tokenizer.model": "bpe"}),
    "SentencePiece, unigram": ("T5Tokenizer", {"spiece.model": "unigram"}),
}


def write(directory: Path, kind: str, files: dict[str, str], **config: Any) -> Path:
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, **config}))
    for name, content in files.items():
        (directory / name).write_bytes(pieces(content) if name.endswith(".model") else content.encode())
    return directory


@pytest.mark.parametrize("name", FILES)
def test_a_tokenizer_without_its_fast_file_is_converted(tmp_path: Path, name: str) -> None:
    kind, files = FILES[name]
    text, library = loaded(write(tmp_path, kind, files), tmp_path / "work"), AutoTokenizer.from_pretrained(tmp_path)
    for sentence in SENTENCES:
        for special in (True, False):
            assert text.encode([sentence], special) == [library(sentence, add_special_tokens=special).input_ids]
    ids = library(SENTENCES[0]).input_ids
    assert text.decode(ids) == library.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize(
    ("kind", "files", "reason"),
    [
        ("ByT5Tokenizer", {}, "no converter of ByT5Tokenizer"),
        ("CTRLTokenizer", {"vocab.json": '{"<unk>": 0, "a": 1}', "merges.txt": "#version\n"}, "no converter of CTRL"),
        ("LlamaTokenizer", {"tokenizer_config.json": "{"}, "cannot be loaded: "),
        ("BertTokenizer", {"tokenizer.json": "{}"}, "cannot be loaded: "),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(
    tmp_path: Path, kind: str, files: dict[str, str], reason: str
) -> None:
    with pytest.raises(ModelUnsupported, match=reason) as caught:
        load_tokenizer(write(tmp_path, kind, files), tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_directory_without_a_tokenizer_takes_ids_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert load_tokenizer(tmp_path, tmp_path).file is None
