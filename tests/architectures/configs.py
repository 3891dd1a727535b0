"""A tiny configuration for every architecture: sizes by the names that the library gives them, and what some need."""

from functools import cache
from typing import Any

from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CLASSES

VOCAB_SIZE = 160
WINDOW = 24
"""Of sliding windows, chunks and steps of scaled queries: shorter than the prompts."""

_SIZES: dict[tuple[str, ...], Any] = {
    ("vocab_size",): VOCAB_SIZE,
    ("bos_token_id",): 1,
    ("eos_token_id",): 2,
    ("pad_token_id",): 0,
    ("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "emb_dim", "embedding_size"): 64,
    ("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "dff", "intermediate_size_mlp"): 128,
    ("encoder_ffn_dim", "dim_ff", "ffn_hidden_size"): 128,
    ("num_hidden_layers", "n_layer", "num_layers", "decoder_layers", "n_layers"): 3,
    ("encoder_layers",): 2,
    ("num_attention_heads", "n_head", "num_heads", "decoder_attention_heads", "attention_heads", "n_heads"): 4,
    ("encoder_attention_heads",): 4,
    ("num_key_value_heads", "num_kv_heads"): 2,
    ("head_dim", "kv_channels", "dim_head"): 16,
    ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"): 512,
    ("image_size",): 32,
    ("patch_size",): 16,
    ("sliding_window", "window_size", "attention_window_size", "attention_chunk_size", "floor_scale"): WINDOW,
    ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"): 4,
    ("num_experts_per_tok", "moe_k", "moe_topk"): 2,
    (
        "moe_intermediate_size",
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
        "expert_ffn_hidden_size",
    ): 32,
    ("moe_shared_expert_intermediate_size",): 32,
    ("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace", "moe_layer_start_index"): 1,
    ("q_lora_rank", "kv_lora_rank"): 32,
    ("qk_nope_head_dim", "v_head_dim"): 16,
    ("qk_rope_head_dim", "rotary_dim"): 8,
}

_WITH_CONVOLUTION = ["full_attention", "conv", "full_attention"]
_MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
_LATENT = {"num_key_value_heads": 4, "head_dim": 8}

_PER_LAYER = {"vocab_size_per_layer_input": VOCAB_SIZE, "hidden_size_per_layer_input": 16}
_WITH_LATENTS = (
    "axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots3_note_text", "glm4_moe_lite", "glm_moe_dsa",
    "longcat_flash", "minicpm3", "youtu",
)  # fmt: skip

EXTRA: dict[str, dict[str, Any]] = {
    "bert": {"is_decoder": True},
    "bert-generation": {"is_decoder": True},
    "big_bird": {"is_decoder": True, "attention_type": "original_full"},
    "blt": {"encoder_hash_byte_group_vocab": 320},
    "camembert": {"is_decoder": True},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}},
    },
    "data2vec-text": {"is_decoder": True},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 2.0, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "electra": {"is_decoder": True},
    "ernie": {"is_decoder": True},
    "gemma3n_text": _PER_LAYER | {"num_kv_shared_layers": 0, "laurel_rank": 8},
    "gemma4_text": _PER_LAYER | {"num_experts": None, "per_layer_config": {}},
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]]},
    "gpt_neox_japanese": {"intermediate_multiple_size": 2},
    "lfm2": {"layer_types": _WITH_CONVOLUTION},
    "lfm2_moe": {"layer_types": _WITH_CONVOLUTION, "num_dense_layers": 1},
    "llama4_text": {"no_rope_layers": [1, 0, 1], "interleave_moe_layer_step": 1, "attn_scale": 0.5},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1, "state_size": 16},
    "megatron-bert": {"is_decoder": True},
    "ministral3": {
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 16.0, "original_max_position_embeddings": 32,
            "llama_4_scaling_beta": 0.5, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
        }
    },
    "modernbert-decoder": {"global_attn_every_n_layers": 2, "local_attention": WINDOW},
    "recurrent_gemma": {"lru_width": 64, "num_key_value_heads": 1},
    "reformer": {
        "is_decoder": True, "axial_pos_embds": False, "attn_layers": ["local", "lsh", "local"],
        "attention_head_size": 16, "feed_forward_size": 128,
    },
    "rembert": {"is_decoder": True, "input_embedding_size": 32, "output_embedding_size": 64},
    "roberta": {"is_decoder": True},
    "roberta-prelayernorm": {"is_decoder": True},
    "roc_bert": {"is_decoder": True, "enable_pronunciation": False, "enable_shape": False},
    "roformer": {"is_decoder": True},
    "smollm3": {"no_rope_layers": [1, 0, 1]},
    "xlm-roberta": {"is_decoder": True},
    "xlm-roberta-xl": {"is_decoder": True},
    "xmod": {"is_decoder": True, "default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 9, "mamba_d_state": 16, "mamba_dt_rank": 8, "num_key_value_heads": 4},
    "zamba2": {
        "hybrid_layer_ids": [1], "layers_block_type": ["linear_attention", "hybrid", "linear_attention"],
        "mamba_d_state": 16, "n_mamba_heads": 8, "num_key_value_heads": 4,
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
    **dict.fromkeys(_WITH_LATENTS, _LATENT),
}  # fmt: skip
"""What an architecture needs beside its sizes."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon, alibi": (
        "falcon",
        {"alibi": True, "num_kv_heads": 4, "multi_query": False, "parallel_attn": False, "bias": True},
    ),
    "falcon, new decoder": ("falcon", {"new_decoder_architecture": True}),
    "gemma2, no caps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma3n_text, shared keys": ("gemma3n_text", {"num_kv_shared_layers": 1}),
    "gemma4_text, shared keys": ("gemma4_text", {"num_kv_shared_layers": 1}),
    "lfm2, attention alone": ("lfm2", {"layer_types": ["full_attention"] * 3}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "opt, norms behind": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 32}),
    "phi, normed heads": ("phi", {"qk_layernorm": True, "num_key_value_heads": 4}),
    "qwen2, mixed windows": ("qwen2", {"use_sliding_window": True, "max_window_layers": 1}),
    "stablelm, normed heads": ("stablelm", {"qk_layernorm": True, "use_parallel_residual": True}),
}
"""Architectures that are two: by a name of ours, which one, and what makes the difference."""


def names() -> list[str]:
    """All of them."""
    return sorted({*CLASSES, *VARIANTS})


def class_of(name: str) -> str:
    """The library's class."""
    found: Any = CLASSES[VARIANTS[name][0] if name in VARIANTS else name]
    return found if isinstance(found, str) else str(found[0])


@cache
def config_of(name: str) -> PretrainedConfig:
    """Raises what the library raises where sizes do not fit."""
    kind, changed = VARIANTS.get(name, (name, {}))
    plain = AutoConfig.for_model(kind)
    parts = {part: getattr(plain, part, None) for part in plain.sub_configs}
    small = {part: _small(config, {}) for part, config in parts.items() if isinstance(config, PretrainedConfig)}
    return _small(plain, small | EXTRA.get(kind, {}) | changed)


def _small(plain: PretrainedConfig, extra: dict[str, Any]) -> PretrainedConfig:
    """The same kind of configuration with our sizes. extra: what goes before these."""
    known = {*plain.to_dict(), *plain.attribute_map}
    sizes = {one: value for several, value in _SIZES.items() for one in several if one in known}
    if "layer_types" in known - {*plain.attribute_map} and "sliding_attention" in (plain.layer_types or ()):
        sizes["layer_types"] = _MIXED
    # A configuration may name one size in two ways.
    sizes = {one: value for one, value in sizes.items() if plain.attribute_map.get(one) not in sizes}
    parts = EXTRA.get(plain.model_type, {})
    config: PretrainedConfig = type(plain)(**sizes | parts | extra)
    return config
