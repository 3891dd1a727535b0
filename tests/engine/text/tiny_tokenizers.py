"""Small tokenizers of every family, trained or spelled out on the spot."""

import json
from collections.abc import Callable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from beamhouse.engine.loading.tokenizer import load_tokenizer
from beamhouse.engine.text.tokenizer import Text

TEXTS = [
    "Once upon a time, there was a little bear. He didn't like honey!",
    "The bears' house isn't far: they've got 3 beds, and we're going there. What's the price?",
    "Größe, naïve café, 東京タワー, приве́т мир, 👩‍👩‍👧 🎉🎉, עברית\n\n\tdef f(x):\n    return x ** 2\n",
    "http://example.org and https://example.org/there are the same, I'm told .",
    "abcdef",
]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
AWKWARD = [
    "a", "b", "aa", " ", "  a ", "▁", "▁▁a▁", "é", "Ã", "©", "Ġ", "##a", "##", " '", " n't", "x</w>", "|", ".",
    "</w>", "<0xC3>", "<0xA9>", "<0x20>", "<0xFF>", "<0x+5>", "do", " do not", " 's", "ab", "ba", "a.", "' ",
]  # fmt: skip
"""Tokens that are awkward for any decoder."""


def _finished(tokenizer: Tokenizer) -> Tokenizer:
    """With special tokens, a start token before every text, and added tokens of both kinds."""
    tokenizer.add_special_tokens([*SPECIAL.values(), "<|call|>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("two words é", normalized=False)])
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    return tokenizer


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    return _finished(tokenizer)


def _sentencepiece_bpe(strip: bool) -> Tokenizer:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trained.train_from_iterator(
        [TEXTS[0], TEXTS[1], TEXTS[3]], trainers.BpeTrainer(vocab_size=160, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    words = ["<unk>", "<s>", "</s>", *BYTE_TOKENS, *model["vocab"], "▁▁", "▁▁▁▁"]
    vocab = {word: at for at, word in enumerate(dict.fromkeys(words))}
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Prepend("▁")] if strip else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1, 0)] if strip else parts)
    return _finished(tokenizer)


def llama2() -> Tokenizer:
    return _sentencepiece_bpe(strip=True)


def gemma() -> Tokenizer:
    return _sentencepiece_bpe(strip=False)


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=240, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.decoder = decoders.WordPiece()
    return _finished(tokenizer)


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.decoder = decoders.Metaspace()
    return _finished(tokenizer)


def end_of_word() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=240, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    return _finished(tokenizer)


def words(decoder: decoders.Decoder | None) -> Tokenizer:
    """The awkward tokens, and nothing learned."""
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(["<unk>", *AWKWARD])}, "<unk>"))
    if decoder is not None:
        tokenizer.decoder = decoder
    return _finished(tokenizer)


FAMILIES: dict[str, Callable[[], Tokenizer]] = {
    "byte_level": byte_level,
    "llama2": llama2,
    "gemma": gemma,
    "word_piece": word_piece,
    "unigram": unigram,
}
"""The kinds of real models."""

DECODERS: dict[str, decoders.Decoder | None] = {
    "none": None,
    "ctc": decoders.CTC(pad_token="<pad>"),
    "ctc_plain": decoders.CTC(pad_token="b", word_delimiter_token="a", cleanup=False),
    "metaspace_first": decoders.Metaspace(prepend_scheme="first"),
    "metaspace_never": decoders.Metaspace(prepend_scheme="never"),
    "metaspace_other_mark": decoders.Metaspace(replacement="a"),
    "word_piece_plain": decoders.WordPiece(prefix="a", cleanup=False),
    "suffix": decoders.BPEDecoder(suffix="a"),
    "byte_level_then_text": decoders.Sequence([decoders.ByteLevel(), decoders.Replace("aa", "b")]),
    "metaspace_bytes": decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback(), decoders.Fuse()]),
    "bytes_unfused": decoders.Sequence([decoders.ByteFallback(), decoders.WordPiece(prefix="a")]),
    "strip_tokens": decoders.Sequence([decoders.Strip("a", 1, 0), decoders.Strip(" ", 2, 0)]),
    "strip_text": decoders.Sequence([decoders.Replace("a", "a~"), decoders.Fuse(), decoders.Strip("a", 2, 0)]),
    "strip_ends": decoders.Sequence([decoders.Replace("b", "~b"), decoders.Fuse(), decoders.Strip("b", 0, 2)]),
    "replace_text": decoders.Sequence([decoders.Fuse(), decoders.Replace("aba", "<>"), decoders.Replace("<>a", "a")]),
    "regex_tokens": decoders.Sequence([decoders.Replace(Regex("a+"), "<>"), decoders.Fuse()]),
    "regex_text": decoders.Sequence([decoders.Replace("a", "b"), decoders.Fuse(), decoders.Replace(Regex("b+"), "c")]),
    "nested": decoders.Sequence(
        [decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()]), decoders.ByteLevel()]
    ),
    "whole_tokens": decoders.Sequence([decoders.Fuse(), decoders.WordPiece(prefix="a")]),
}
"""Rare ones, alone and combined."""


def save(tokenizer: Tokenizer, directory: Path, special_tokens: dict[str, str] = SPECIAL, **config: object) -> Path:
    """A directory that `AutoTokenizer.from_pretrained` loads, and the tokenizer file in it."""
    file = directory / "tokenizer.json"
    tokenizer.save(str(file))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **special_tokens, **config}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return file


def loaded(directory: Path, work: Path) -> Text:
    """The tokenizer of a directory on the way that a served one takes."""
    work.mkdir(exist_ok=True)
    files = load_tokenizer(directory, work)
    assert files.file is not None
    return Text.load(files.file, files.chat_template, files.special_tokens, files.switches)
