"""What a model's own files say about generation, beside what the library makes of the same files."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers import GenerationConfig as LibraryConfig

from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.loading.defaults import read_generation_defaults
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolution import merge

SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 1,
}  # fmt: skip
SMALL = LlamaConfig(**SIZES)
METADATA = ("_from_model_config", "transformers_version")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(path)
    return path


def write(directory: Path, config: dict[str, Any], generation: str | None = None) -> Path:
    """The model with these keys as its whole config.json, beside its sizes."""
    raw = {**SIZES, "model_type": "llama", "architectures": ["LlamaForCausalLM"], **config}
    (directory / "config.json").write_text(json.dumps(raw))
    file = directory / "generation_config.json"
    file.unlink(missing_ok=True)
    if generation is not None:
        file.write_text(generation)
    return directory


def read(directory: Path) -> dict[str, Any]:
    return read_generation_defaults(directory, SMALL).set_fields()


def library(directory: Path) -> dict[str, Any]:
    """The fields that `generate()` would find set. A Llama cannot be built of several text parts, so these are read
    with the call that `from_pretrained` of a model makes."""
    raw = json.loads((directory / "config.json").read_text())
    if "text_config" in raw:
        config = LibraryConfig.from_pretrained(directory, "config.json", _from_model_config=True).to_dict()
    else:
        config = AutoModelForCausalLM.from_pretrained(directory).generation_config.to_dict()
    return {key: value for key, value in config.items() if value is not None and key not in METADATA}


OLD_EXPORTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "sampling": {"do_sample": True, "top_k": 7, "temperature": 0.8, "repetition_penalty": 1.5, "max_length": 24},
    "beams": {"num_beams": 4, "early_stopping": True, "length_penalty": 2.0, "no_repeat_ngram_size": 3},
    "ids": {"bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": 0, "forced_bos_token_id": 5},
    "a start that is forced": {"bos_token_id": 4, "force_bos_token_to_be_generated": True},
    "of a task": {"task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, "prefix": "x"},
    "outputs": {"output_hidden_states": True, "output_scores": False, "use_cache": False},
    "no longer read": {"forced_decoder_ids": [[1, 2]], "return_legacy_cache": True, "generation_kwargs": {"a": 1}},
    "a text part": {"text_config": {"eos_token_id": 5, "num_beams": 3, "max_length": None}, "eos_token_id": 2},
    "the first part": {"decoder": {}, "generator": {"top_k": 3}, "text_config": {"top_k": 4, "top_p": 0.5}},
    "bans and biases": {"bad_words_ids": [[5], [6, 7]], "sequence_bias": [[[3], 1.5]], "suppress_tokens": [8]},
    "nulls": {"eos_token_id": None, "max_length": None, "num_beams": None},
}


@pytest.mark.parametrize("name", OLD_EXPORTS)
def test_without_a_generation_file_config_json_says_what_it_says_to_the_library(directory: Path, name: str) -> None:
    write(directory, OLD_EXPORTS[name])
    plain = read_generation_defaults(directory, SMALL).to_diff_dict()
    assert {key: value for key, value in plain.items() if key not in METADATA} == library(directory)


def test_a_generation_file_silences_config_json(directory: Path) -> None:
    write(directory, {"num_beams": 4, "eos_token_id": 9}, '{"top_k": 3}')
    assert read(directory) == library(directory) == {"top_k": 3}


@pytest.mark.parametrize("broken", ["{", "\ufffd\x00", ""])
def test_a_generation_file_that_is_no_json_counts_as_none(directory: Path, broken: str) -> None:
    write(directory, {"num_beams": 4}, broken)
    assert read(directory) == library(directory) == {"num_beams": 4}


def test_arguments_of_generate_in_a_file_are_refused_at_load(directory: Path) -> None:
    with pytest.raises(ModelUnsupported, match="streamer"):
        read(write(directory, {}, '{"streamer": 1}'))


SALVAGED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an end of -1 beside others": ({"eos_token_id": [7, -1]}, {"eos_token_id": [7]}),
    "only an end of -1": ({"eos_token_id": [-1], "top_k": 3}, {"top_k": 3}),
    "a ban of -1 beside others": ({"suppress_tokens": [5, -1, 99]}, {"suppress_tokens": [5]}),
    "several without beams": ({"num_return_sequences": 3}, {"num_return_sequences": 3}),
    "groups without a penalty": ({"num_beams": 4, "num_beam_groups": 2}, {"num_beams": 4, "num_beam_groups": 2}),
    "decay without an end": ({"exponential_decay_length_penalty": [3, 1.5]}, {}),
    "an exit above the last layer": ({"assistant_early_exit": 9}, {}),
    "a layer beyond the last": ({"dola_layers": [1, 7]}, {}),
    "a mark without green tokens": ({"watermarking_config": {"greenlist_ratio": 0.001}}, {}),
    "no token left": ({"suppress_tokens": list(range(40))}, {}),
    "the forced end suppressed": ({"forced_eos_token_id": 2, "suppress_tokens": [2]}, {"suppress_tokens": [2]}),
    "at most less than at least": ({"min_length": 9, "max_length": 5}, {"min_length": 9, "max_length": 5}),
}


@pytest.mark.parametrize("name", SALVAGED)
def test_what_would_refuse_every_request_is_left_out_with_a_warning(
    directory: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    content, expected = SALVAGED[name]
    with caplog.at_level(logging.WARNING):
        config = read_generation_defaults(write(directory, {}, json.dumps(content)), SMALL)
    assert config.set_fields() == expected
    assert bool(caplog.records) == (content != expected)
    assert merge(GenerationConfig(), config, prompt_len=3, context_len=64).problems() == []
