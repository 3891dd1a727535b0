"""Writes a Llama of 0.4 billion random weights, for measuring speed: what it says means nothing.

    python -m benchmarks.models.llama_shape DIRECTORY [--seed 0] [--layers 24]

Each token that can be chosen is a word of letters behind a space, so that every server can be asked in token ids or in
text, streams a piece of text for each token, and never sees the end token before the asked length.
"""

import argparse
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

SHAPE: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
SPECIAL = ("<s>", "</s>", "<pad>")
SPACE = "Ġ"
"""How byte-level vocabularies write a space."""

CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""Adds nothing, so that a chat has as many tokens as its text."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.models.llama_shape", description="A Llama of random weights.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=SHAPE["num_hidden_layers"])
    options = parser.parse_args()
    write(options.directory, SHAPE | {"num_hidden_layers": options.layers}, options.seed)


def write(directory: Path, shape: dict[str, Any], seed: int) -> None:
    """The model in bfloat16 with its tokenizer. shape: fields of LlamaConfig."""
    vocabulary, merges = word_vocabulary(shape["vocab_size"])
    write_tokenizer(directory, vocabulary, merges)
    torch.manual_seed(seed)
    # Created as stored: half the memory, and the draws do not depend on a rounding of their own.
    model: Any = AutoModelForCausalLM.from_config(LlamaConfig(**shape), dtype=torch.bfloat16)
    with torch.no_grad():
        first_word = num_other_tokens(vocabulary)
        model.lm_head.weight[:first_word] = 0.0  # their logits are 0, and the largest of thousands never is
    ends = {name: shape[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(do_sample=False, **ends)
    model.save_pretrained(directory)


def word_vocabulary(vocab_size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Special tokens, the 256 bytes, then words of one to three letters, with a space in front while there is room.

    Raises ValueError where `vocab_size` holds less than the words of one letter.
    """
    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet())]
    merges: list[tuple[str, str]] = []
    for start in (SPACE, ""):
        for num_letters in (1, 2, 3) if start else (2, 3):
            for *head, last in product(ascii_lowercase, repeat=num_letters):
                merges.append((start + "".join(head), last))
    num_words = vocab_size - len(tokens)
    if not len(ascii_lowercase) <= num_words <= len(merges):
        raise ValueError(f"a vocabulary holds {len(tokens) + len(ascii_lowercase)} to {len(tokens) + len(merges)}")
    merges = merges[:num_words]
    tokens += [left + right for left, right in merges]
    return {token: number for number, token in enumerate(tokens)}, merges


def num_other_tokens(vocabulary: dict[str, int]) -> int:
    """How many tokens at its beginning are no words."""
    return vocabulary[SPACE + ascii_lowercase[0]]


def write_tokenizer(directory: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    start, end, pad = SPECIAL
    tokenizer.add_special_tokens(list(SPECIAL))
    directory.mkdir(parents=True, exist_ok=True)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=start, eos_token=end, pad_token=pad)
    wrapped.chat_template = CHAT
    wrapped.save_pretrained(directory)


if __name__ == "__main__":
    main()
