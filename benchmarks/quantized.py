"""What weights of other types change in a model's results: perplexity, and how often the likeliest token is the same.

    python -m benchmarks.quantized MODEL --text FILE [--windows 40]

Each window of the text goes through the kernels once in each form of the weights, in this process. FILE: UTF-8, also
gzipped; best a text the model has not learned from. Greedy answers continue the first half of each window.
"""

import argparse
import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from beamhouse.config.settings import EngineSettings, Settings
from beamhouse.engine.native.pick import pick_kernels
from beamhouse.engine.runners.backend import pick_backend
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.state.batch import Batch, Feed
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Sequence

FORMS = (
    ("float32", None),
    ("bfloat16", None),
    ("float32", "int8"),
    ("bfloat16", "int8"),
    ("float32", "int4"),
    ("bfloat16", "int4"),
)
LENGTH, NUM_NEW = 256, 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """likeliest: (windows, LENGTH - 1) token ids. answers: (windows, NUM_NEW) greedy continuations."""

    perplexity: float
    likeliest: torch.Tensor
    answers: torch.Tensor


def read_windows(path: Path, text: Path, count: int) -> list[list[int]]:
    """The first windows of LENGTH tokens of a text."""
    opener = gzip.open if text.suffix == ".gz" else open
    with opener(text, "rt", encoding="utf-8") as file:
        ids = Tokenizer.from_file(str(path / "tokenizer.json")).encode(file.read(8 * LENGTH * count)).ids
    return [ids[start : start + LENGTH] for start in range(0, len(ids) - LENGTH + 1, LENGTH)][:count]


def measure(path: Path, dtype: str, quantize: str | None, windows: list[list[int]]) -> Outcome:
    """Run all windows through one form of the model."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).eval()
    settings: EngineSettings = Settings(engine={"kernels": "native"}).engine
    cache = BlockCache(2 * LENGTH // settings.block_size * len(windows), settings.block_size, prefix_caching=False)
    runner = PackedRunner(model, cache, pick_backend(model, cache, settings, pick_kernels(model, settings), quantize))
    loss, likeliest = 0.0, []
    for window in windows:
        logits = feed(runner, [Sequence(window, num_prompt=LENGTH)], LENGTH)[:-1]
        loss += float(torch.nn.functional.cross_entropy(logits, torch.tensor(window[1:])))
        likeliest.append(logits.argmax(-1))
    return Outcome(math.exp(loss / len(windows)), torch.stack(likeliest), answers_of(runner, windows))


def answers_of(runner: PackedRunner, windows: list[list[int]]) -> torch.Tensor:
    """Greedy continuations of the first halves, all windows together. (windows, NUM_NEW)"""
    sequences = [Sequence(window[: LENGTH // 2], num_prompt=LENGTH // 2) for window in windows]
    for _ in range(NUM_NEW):
        chosen = feed(runner, sequences, 1).argmax(-1).tolist()
        for sequence, token in zip(sequences, chosen, strict=True):
            sequence.token_ids.append(token)
    return torch.tensor([sequence.token_ids[LENGTH // 2 :] for sequence in sequences])


def feed(runner: PackedRunner, sequences: list[Sequence], num_logits: int) -> torch.Tensor:
    """Feed what is not cached; the logits of the last positions of each sequence, one after the other."""
    feeds = []
    for sequence in sequences:
        missing = sequence.token_ids[sequence.num_cached :]
        runner.cache.reserve(sequence, len(missing))
        feeds.append(Feed(sequence, missing, num_logits))
    return runner.forward(Batch(feeds, [])).logits


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=40)
    options = parser.parse_args()
    windows = read_windows(options.model, options.text, options.windows)
    print(f"{len(windows)} windows of {LENGTH} tokens; answers of {NUM_NEW} tokens\n")
    print("| weights | perplexity | against float32 | same likeliest token | same greedy tokens until they part |")
    print("|---|---:|---:|---:|---:|")
    first: Outcome | None = None
    for dtype, quantize in FORMS:
        found = measure(options.model, dtype, quantize, windows)
        first = first or found
        likeliest = float((found.likeliest == first.likeliest).float().mean())
        together = float((found.answers == first.answers).long().cumprod(-1).sum(-1).float().mean())
        name = f"{quantize}, else {dtype}" if quantize else dtype
        change = found.perplexity / first.perplexity - 1
        print(f"| {name} | {found.perplexity:.3f} | {change:+.2%} | {likeliest:.2%} | {together:.1f} of {NUM_NEW} |")


if __name__ == "__main__":
    main()
