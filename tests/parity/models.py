"""Tiny random float32 models of many architectures, and the built-in one, each with its own engine."""

import copy
from functools import cache
from pathlib import Path

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
    PhiConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

import engine.builtin

VOCAB_SIZE = 160
BUILTIN = Path(engine.builtin.__file__).parent / "model"

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


FAMILIES = (*configs(), "builtin")


@cache
def reference(family: str) -> PreTrainedModel:
    """The model as the library runs it."""
    if family == "builtin":
        return AutoModelForCausalLM.from_pretrained(BUILTIN, dtype=torch.float32).eval()
    torch.manual_seed(0)
    config = configs()[family]
    # The library's fused attention leaves out the cap on the logits that this architecture has.
    implementation = "eager" if family == "gemma2" else None
    model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    return model


def served(family: str) -> PreTrainedModel:
    """A copy of the model, for an engine to take."""
    return copy.deepcopy(reference(family))
