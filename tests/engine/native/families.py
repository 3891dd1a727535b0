"""Tiny random models of every family that the kernels run whole: those of the parity tests, and their neighbours."""

import copy
from functools import cache

import torch
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    CohereConfig,
    Ernie4_5Config,
    Exaone4Config,
    Gemma2Config,
    GemmaConfig,
    GlmConfig,
    GPTNeoXConfig,
    GraniteConfig,
    NemotronConfig,
    Olmo2Config,
    Olmo3Config,
    OlmoConfig,
    Phi3Config,
    PhiConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    SmolLM3Config,
    StableLmConfig,
    Starcoder2Config,
)

from tests.parity import models

VOCAB_SIZE = models.VOCAB_SIZE
WINDOW = 12
_SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "max_position_embeddings": 256,
    "vocab_size": VOCAB_SIZE,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_UNGROUPED = {key: size for key, size in _SIZES.items() if key != "num_key_value_heads"}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
_TOO_SMALL = {"llama", "mistral", "gpt2"}


@cache
def configs() -> dict[str, PretrainedConfig]:
    """One configuration per family."""
    capped = {"attn_logit_softcapping": 4.0, "final_logit_softcapping": 5.0, "sliding_window": WINDOW}
    granite = {"embedding_multiplier": 3.0, "residual_multiplier": 0.4, "logits_scaling": 4.0}
    parity = {name: config for name, config in models.configs().items() if name not in _TOO_SMALL}
    return parity | {
        "gemma": GemmaConfig(**_SIZES, head_dim=16),
        "gemma2, tight caps": Gemma2Config(**_SIZES, head_dim=16, query_pre_attn_scalar=16, **capped),
        "gpt_neox in turn": GPTNeoXConfig(**_UNGROUPED, use_parallel_residual=False),
        "phi, normed heads": PhiConfig(**_SIZES, qk_layernorm=True),
        "phi3": Phi3Config(**_SIZES),
        "qwen2": Qwen2Config(**_SIZES),
        "smollm3": SmolLM3Config(**_SIZES, no_rope_layer_interval=2),
        "granite": GraniteConfig(**_SIZES, **granite, attention_multiplier=0.2),
        "olmo": OlmoConfig(**_SIZES),
        "olmo2": Olmo2Config(**_SIZES),
        "cohere": CohereConfig(**_SIZES, use_qk_norm=True),
        "cohere2": Cohere2Config(**_SIZES, sliding_window=WINDOW, layer_types=_MIXED),
        "exaone4": Exaone4Config(**_SIZES, sliding_window=WINDOW, layer_types=_MIXED),
        "olmo3": Olmo3Config(**_SIZES, sliding_window=WINDOW, layer_types=_MIXED),
        "glm": GlmConfig(**_SIZES, head_dim=16),
        "ernie4.5": Ernie4_5Config(**_SIZES, head_dim=16),
        "starcoder2": Starcoder2Config(**_SIZES, sliding_window=WINDOW),
        "stablelm": StableLmConfig(**_SIZES, use_qkv_bias=True),
        "stablelm in parallel": StableLmConfig(**_SIZES, use_parallel_residual=True),
        "nemotron": NemotronConfig(**_SIZES, head_dim=16),
    }


FAMILIES = tuple(configs())


@cache
def library_model(family: str) -> PreTrainedModel:
    """The model as the library runs it, in float32; weights of norms and biases are none that would hide a mistake."""
    torch.manual_seed(0)
    # The library's fused attention leaves out the caps on its logits.
    implementation = "eager" if family.startswith("gemma2") else None
    model = AutoModelForCausalLM.from_config(configs()[family], attn_implementation=implementation).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def copy_of(family: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A copy of the model, for a runner to take."""
    return copy.deepcopy(library_model(family)).to(dtype)
