"""Tiny random float32 models of many architectures, and the built-in one, each with its own engine."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PhimoeConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from beamhouse.engine import builtin

VOCAB_SIZE = 160
BUILTIN = Path(builtin.__file__).parent / "model"

_TOKENS = {"vocab_size": VOCAB_SIZE, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    # A large spread keeps the best tokens far apart, so that the last bits of a sum decide nothing.
    "initializer_range": 0.3,
    "max_position_embeddings": 256,
}


# What the native kernels take: sizes that are multiples of 16. The spread shrinks as sums grow longer.
_WIDE = _SIZES | {"hidden_size": 64, "intermediate_size": 128, "initializer_range": 0.2}


def configs() -> dict[str, PretrainedConfig]:
    """One configuration per architecture; the sliding windows are shorter than the sequences of the tests.

    Those of the golden files keep their weights, and with them sizes that are too small for the native kernels.
    """
    grouped, wide = _SIZES | {"num_key_value_heads": 2}, _WIDE | {"num_key_value_heads": 2}
    gemma = wide | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 12}
    return {
        "llama": LlamaConfig(**grouped, **_TOKENS),
        "qwen3": Qwen3Config(**wide, head_dim=16, **_TOKENS),
        "mistral": MistralConfig(**grouped, sliding_window=12, **_TOKENS),
        "gemma2": Gemma2Config(**gemma, **_TOKENS),
        "gemma3": Gemma3TextConfig(**gemma, **_TOKENS),
        "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.3, **_TOKENS),
        "gpt2_wide": GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=256, initializer_range=0.2, **_TOKENS),
        "opt": OPTConfig(
            hidden_size=64, ffn_dim=128, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=256,
            word_embed_proj_dim=64, init_std=0.2, **_TOKENS,
        ),
        "gpt_neox": GPTNeoXConfig(**_WIDE, **_TOKENS),
        "phi": PhiConfig(**_WIDE, **_TOKENS),
    }  # fmt: skip


TRAINED = 24
"""The length of training of those whose positions are stretched beyond it."""


def stretched_configs() -> dict[str, PretrainedConfig]:
    """Positions that are scaled in every way the library knows; `longrope` and `dynamic` go by the length of a call."""
    grouped = _WIDE | {"num_key_value_heads": 2} | _TOKENS
    short, half = grouped | {"max_position_embeddings": TRAINED}, grouped["hidden_size"] // 8
    long = {
        "rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": TRAINED,
        "short_factor": [1.0 + 0.1 * place for place in range(half)],
        "long_factor": [2.0 + 0.7 * place for place in range(half)],
    }  # fmt: skip
    partial = (
        long | {"partial_rotary_factor": 0.5} | {name: long[name][::2] for name in ("short_factor", "long_factor")}
    )
    dynamic = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    window = {"sliding_window": 12, "head_dim": 16, "query_pre_attn_scalar": 16}
    moe = {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16}
    by_length = {
        "phi3, longrope": Phi3Config(**grouped, original_max_position_embeddings=TRAINED, rope_parameters=long),
        "phi3, partly": Phi3Config(**grouped, original_max_position_embeddings=TRAINED, rope_parameters=partial),
        "phimoe, longrope": PhimoeConfig(
            **grouped, **moe, original_max_position_embeddings=TRAINED,
            rope_parameters=long | {"short_mscale": 1.1, "long_mscale": 1.3},
        ),
        "llama, longrope": LlamaConfig(**grouped, rope_parameters=long | {"factor": 4.0}),
        "llama, dynamic": LlamaConfig(**short, rope_parameters=dynamic),
        "gemma3, dynamic": Gemma3TextConfig(
            **short, **window,
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}, "full_attention": dynamic,
            },
        ),
    }  # fmt: skip
    return by_length | _scaled_alike(short)


def _scaled_alike(short: dict[str, Any]) -> dict[str, PretrainedConfig]:
    """Positions that are scaled alike in calls of every length."""
    return {
        "llama, yarn": LlamaConfig(
            **short,
            rope_parameters={
                "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "attention_factor": 1.2,
                "original_max_position_embeddings": TRAINED,
            },
        ),
        "llama, linear": LlamaConfig(
            **short, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
        ),
        "llama, llama3": LlamaConfig(
            **short,
            rope_parameters={
                "rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": TRAINED,
            },
        ),
    }  # fmt: skip


FAMILIES = (*configs(), "builtin")
STRETCHED = tuple(stretched_configs())


@cache
def reference(family: str) -> PreTrainedModel:
    """The model as the library runs it."""
    if family == "builtin":
        return AutoModelForCausalLM.from_pretrained(BUILTIN, dtype=torch.float32).eval()
    torch.manual_seed(0)
    config = (configs() | stretched_configs())[family]
    # The library's fused attention leaves out the cap on the logits that this architecture has.
    implementation = "eager" if family == "gemma2" else None
    model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    return model


def served(family: str) -> PreTrainedModel:
    """A copy of the model, for an engine to take."""
    return copy.deepcopy(reference(family))
