"""Writes a Llama with a byte-level vocabulary as GGUF, the format of llama.cpp. Runs in llama.cpp's own environment.

python -m benchmarks.peers.write_gguf MODEL FILE.gguf [--type bf16|q8_0]
"""

import argparse
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found]  # this peer's environment alone has it
import numpy as np

FILE_TYPES = {"bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0", "f32": "ALL_F32"}
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NORMAL, CONTROL = 1, 3
"""Kinds of tokens."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.peers.write_gguf", description="A Llama as GGUF.")
    parser.add_argument("model", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--type", choices=list(FILE_TYPES), default="bf16")
    options = parser.parse_args()
    write(options.model, options.file, options.type)


def write(model: Path, file: Path, file_type: str) -> None:
    """Norms stay in float32, as llama.cpp wants them; all else is of `file_type`."""
    config = json.loads((model / "config.json").read_text())
    writer = gguf.GGUFWriter(file, "llama")
    add_shape(writer, config)
    add_vocabulary(writer, json.loads((model / "tokenizer.json").read_text()), config)
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[file_type]])
    kind = gguf.GGMLQuantizationType[file_type.upper()]
    for name, values in tensors(model / "model.safetensors"):
        values = interleave(name, values, config)
        if values.ndim == 1:
            writer.add_tensor(gguf_name(name), values)
        else:
            writer.add_tensor(gguf_name(name), gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_shape(writer: Any, config: dict[str, Any]) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def add_vocabulary(writer: Any, tokenizer: dict[str, Any], config: dict[str, Any]) -> None:
    special = {token["id"] for token in tokenizer["added_tokens"]}
    numbers = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = sorted(numbers, key=numbers.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL if numbers[token] in special else NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)


def tensors(file: Path) -> Iterator[tuple[str, Any]]:
    """Every weight with its name, as float32. numpy knows no bfloat16: it is the upper half of a float32."""
    with file.open("rb") as opened:
        (head_len,) = struct.unpack("<Q", opened.read(8))
        entries = json.loads(opened.read(head_len))
    whole = np.memmap(file, np.uint8, mode="r", offset=8 + head_len)
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        raw = whole[start:end]
        if entry["dtype"] == "BF16":
            values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = raw.view({"F32": np.float32, "F16": np.float16}[entry["dtype"]]).astype(np.float32)
        yield name, values.reshape(entry["shape"])


def interleave(name: str, values: Any, config: dict[str, Any]) -> Any:
    """llama.cpp rotates neighbouring values of a head, the library those half a head apart; so rows change places."""
    if "q_proj" not in name and "k_proj" not in name:
        return values
    num_heads = values.shape[0] // config["head_dim"]
    halves = values.reshape(num_heads, 2, config["head_dim"] // 2, -1)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def gguf_name(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` is `blk.3.ffn_up.weight` there."""
    stem, _, kind = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, number, part = stem.split(".", 3)
        return f"blk.{number}.{NAMES[part]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


if __name__ == "__main__":
    main()
