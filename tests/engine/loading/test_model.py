"""What is served and what is turned away at the door: directories of models, whole and broken."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM as CausalLM
from transformers import BloomConfig, GPT2Config, LlamaConfig, PreTrainedModel, T5Config
from transformers import T5ForConditionalGeneration as Seq2Seq

from beamhouse.config.settings import ModelSettings, Settings
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.loading.files import find_model
from beamhouse.engine.loading.model import load_model
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.state.block_cache import BlockCache

LLAMA = LlamaConfig(
    vocab_size=40, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=64,
)  # fmt: skip


def ignore(_stage: str, _share: float) -> None:
    """Takes the progress of loading."""


def settings(path: Path, dtype: str = "float32") -> ModelSettings:
    return Settings(model={"model": str(path), "dtype": dtype, "device": "cpu"}).model


def load(path: Path, dtype: str = "float32") -> PreTrainedModel:
    return load_model(find_model(settings(path), ignore), settings(path, dtype), ignore)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    CausalLM.from_config(LLAMA).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_come_in_the_type_that_was_asked_for(llama: Path, dtype: str) -> None:
    assert load(llama, dtype).dtype == getattr(torch, dtype)


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    CausalLM.from_config(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    load(tmp_path)


def test_a_model_without_all_its_weights_is_not_made_up(llama: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layers.1.mlp" not in name}
    save_file(kept, llama / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnsupported, match=r"lacks 3 weights.*layers\.1\.mlp\.down_proj"):
        load(llama)


def test_a_file_that_is_cut_short_is_named(llama: Path) -> None:
    file = llama / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelUnsupported, match=llama.name):
        load(llama)


@pytest.mark.parametrize("content", ['{"model_type": "llama", ', "[]"])
def test_a_configuration_that_is_no_json_object_is_named_and_not_the_tokenizer(llama: Path, content: str) -> None:
    (llama / "config.json").write_text(content)
    with pytest.raises(ModelUnsupported, match=r"config\.json (is not valid JSON|holds no JSON object)$"):
        load(llama)


def test_encoder_decoder_models_are_not_supported_yet(tmp_path: Path) -> None:
    config = T5Config(vocab_size=40, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    Seq2Seq(config).save_pretrained(tmp_path)
    with pytest.raises(ModelUnsupported, match="encoder-decoder"):
        load(tmp_path)


def test_a_model_with_its_own_attention_is_turned_away() -> None:
    model = CausalLM.from_config(BloomConfig(vocab_size=40, hidden_size=16, n_layer=1, n_head=2)).eval()
    runner = PackedRunner(model, BlockCache(32, 8, prefix_caching=False))
    with pytest.raises(ModelUnsupported, match="attention interface"):
        runner.check()


def test_weights_that_could_run_code_are_not_read(llama: Path) -> None:
    (llama / "model.safetensors").rename(llama / "pytorch_model.bin")
    with pytest.raises(ModelUnsupported, match=r"pytorch_model\.bin is not read"):
        load(llama)


def test_a_directory_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match=r"nowhere.* is neither a directory nor"):
        load(tmp_path / "nowhere")
