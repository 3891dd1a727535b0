"""Of which words the generated model consists."""

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from benchmarks.cases.loads import word_ids
from benchmarks.models.llama_shape import SHAPE, num_other_tokens, word_vocabulary, write_tokenizer

BYTES_AND_SPECIAL = 259


@pytest.fixture(scope="module")
def small_tokenizer(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    write_tokenizer(folder, *word_vocabulary(1500))
    return folder


def test_every_word_is_one_token_so_that_text_has_an_exact_length(small_tokenizer: Path):
    words = word_ids(small_tokenizer)
    tokenizer = Tokenizer.from_file(str(small_tokenizer / "tokenizer.json"))
    prompt = random.Random(0).choices(words, k=300)
    assert tokenizer.encode(tokenizer.decode(prompt), add_special_tokens=False).ids == prompt
    assert len(words) == 1500 - BYTES_AND_SPECIAL


def test_words_follow_what_the_model_never_chooses():
    vocabulary, merges = word_vocabulary(SHAPE["vocab_size"])
    assert len(vocabulary) == SHAPE["vocab_size"] == BYTES_AND_SPECIAL + len(merges)
    assert num_other_tokens(vocabulary) == BYTES_AND_SPECIAL
    assert sorted(vocabulary.values()) == list(range(SHAPE["vocab_size"]))


@pytest.mark.parametrize("size", [BYTES_AND_SPECIAL + 25, 10**6])
def test_a_vocabulary_that_cannot_be_filled_is_refused(size: int):
    with pytest.raises(ValueError, match="a vocabulary holds 285 to"):
        word_vocabulary(size)
