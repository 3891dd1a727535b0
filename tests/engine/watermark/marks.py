"""Random watermarks and texts, and the library's own classes for them."""

import random
from typing import Any

import torch
from transformers import LlamaConfig, WatermarkDetector
from transformers import SynthIDTextWatermarkingConfig as LibrarySynthID
from transformers import WatermarkingConfig as LibraryGreenList

from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig, WatermarkingConfig


def random_green_list(rng: random.Random, **fields: Any) -> WatermarkingConfig:
    drawn = {
        "greenlist_ratio": rng.uniform(0.1, 0.9),
        "bias": rng.uniform(-3, 5),
        "hashing_key": rng.choice([15485863, 2**63 - 1, 7, 0]),
        "seeding_scheme": rng.choice(["lefthash", "selfhash"]),
        "context_width": rng.randint(1, 4),
    }
    return WatermarkingConfig(**{**drawn, **fields})


def random_synthid(rng: random.Random, **fields: Any) -> SynthIDTextWatermarkingConfig:
    drawn = {
        "ngram_len": rng.randint(2, 6),
        "keys": [rng.randrange(2**62) for _ in range(rng.randint(1, 12))],
        "sampling_table_size": rng.choice([65536, 1000, 7, 1]),
        "sampling_table_seed": rng.randrange(2**33),
        "context_history_size": rng.choice([1, 2, 1024]),
        "skip_first_ngram_calls": rng.random() < 0.3,
        "debug_mode": rng.random() < 0.2,
    }
    return SynthIDTextWatermarkingConfig(**{**drawn, **fields})


def library_processor(mark: WatermarkingConfig | SynthIDTextWatermarkingConfig, vocab_size: int) -> Any:
    kind = LibraryGreenList if isinstance(mark, WatermarkingConfig) else LibrarySynthID
    return kind(**mark.to_dict()).construct_processor(vocab_size, "cpu")


def library_detector(mark: WatermarkingConfig, vocab_size: int, *, ignore_repeated_ngrams: bool) -> WatermarkDetector:
    model = LlamaConfig(vocab_size=vocab_size, bos_token_id=1)
    return WatermarkDetector(model, "cpu", LibraryGreenList(**mark.to_dict()), ignore_repeated_ngrams)


def green_list(vocab_size: int, seed: int, num_green: int) -> set[int]:
    """As torch draws it on a CPU."""
    order = torch.randperm(vocab_size, generator=torch.Generator().manual_seed(seed))
    return set(order[:num_green].tolist())
