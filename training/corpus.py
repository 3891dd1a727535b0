"""The text the built-in model learns from: documents, tokenizer, and the windows of each training step."""

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

EOS, BOS, PAD = "<|endoftext|>", "<|startoftext|>", "<|pad|>"
NUM_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Source:
    """A shard of the corpus and the share of the training windows drawn from it."""

    name: str
    share: float
    tokenizer_weight: int


SOURCES = (
    Source("tinystories", 0.66, 4),
    Source("storybooks", 0.08, 4),
    Source("", 0.26, 1),  # the books
)


def read_documents(corpus: Path, split: str, source: Source) -> list[str]:
    """The documents of one shard, in the order of the file."""
    name = f"{split}-{source.name}" if source.name else split
    with gzip.open(corpus / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
        documents = file.read().split(f"\n{EOS}\n")
    return [document.strip() for document in documents if document.strip()]


def train_tokenizer(corpus: Path) -> Tokenizer:
    """A byte-level BPE over the training shards, stories counted several times."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_TOKENS,
        special_tokens=[EOS, BOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = [
        text
        for source in SOURCES
        for _ in range(source.tokenizer_weight)
        for text in read_documents(corpus, "train", source)
    ]
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, bos)]
    )
    return tokenizer


@dataclass(frozen=True, slots=True)
class Stream:
    """All tokens of a shard in a row, `BOS text EOS` each, and where each document starts."""

    token_ids: torch.Tensor  # (N,) int64
    starts: torch.Tensor  # (documents,) int64


def encode(tokenizer: Tokenizer, documents: list[str]) -> Stream:
    eos = tokenizer.token_to_id(EOS)
    pieces = [np.array([*e.ids, eos], dtype=np.int64) for e in tokenizer.encode_batch(documents)]
    starts = np.cumsum([0, *(len(piece) for piece in pieces[:-1])])
    return Stream(torch.from_numpy(np.concatenate(pieces)), torch.from_numpy(starts))


def window_batch(streams: list[Stream], shares: torch.Tensor, seed: int, rows: int, length: int) -> torch.Tensor:
    """`rows` windows of `length + 1` tokens, half of them starting where a document starts. (R, length + 1)."""
    generator = torch.Generator().manual_seed(seed)
    picks = torch.multinomial(shares, rows, replacement=True, generator=generator)
    windows = []
    for row, pick in enumerate(picks.tolist()):
        stream = streams[pick]
        last = len(stream.token_ids) - length - 1
        if row % 2:
            at = int(torch.randint(0, last, (1,), generator=generator))
        else:
            at = int(stream.starts[torch.randint(0, len(stream.starts), (1,), generator=generator)])
        at = min(at, last)
        windows.append(stream.token_ids[at : at + length + 1])
    return torch.stack(windows)
