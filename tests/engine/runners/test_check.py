"""What loading does with models that are not what they look like: who computes in the end, or why nobody does."""

import copy
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    NanoChatConfig,
    OlmoeConfig,
    PretrainedConfig,
    PreTrainedModel,
    StableLmConfig,
)

from beamhouse.config.settings import EngineSettings
from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.native.pick import pick_kernels
from beamhouse.engine.runners.far import MOST_PAST, MOST_STANDS, stands
from beamhouse.engine.runners.packed import PackedRunner
from tests.parity.running import SETTINGS

SIZES: dict[str, Any] = {
    "vocab_size": 160, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0,
}  # fmt: skip


def random_model(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Its weights are far enough apart that a mistake shows."""
    model = AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 1.3 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    placed: PreTrainedModel = model.to(dtype)
    return placed


def checked(model: PreTrainedModel, **changed: Any) -> PackedRunner:
    settings = EngineSettings(**(SETTINGS.model_dump() | changed))
    runner, _ = assemble(copy.deepcopy(model), settings, Extensions(Registry({}, {}), {}))
    runner.check()
    return runner


@pytest.fixture
def llama() -> PreTrainedModel:
    return random_model(LlamaConfig(**SIZES))


@pytest.mark.parametrize(
    "config",
    [NanoChatConfig(**SIZES), StableLmConfig(**SIZES, qk_layernorm=True, use_parallel_residual=True)],
    ids=lambda config: config.model_type,
)
def test_parts_without_the_usual_weights_run_by_the_models_own_code(config: PretrainedConfig) -> None:
    assert "whole decoder" not in checked(random_model(config)).backend.kernels


def test_whatever_recognition_stumbles_over_is_told_and_served_by_the_next(
    llama: PreTrainedModel, caplog: pytest.LogCaptureFixture
) -> None:
    for layer in llama.get_decoder().layers:
        layer.residual_multiplier = "a lot"
    with caplog.at_level(logging.INFO):
        assert "whole decoder" not in checked(llama).backend.kernels
    assert "could not convert string to float: 'a lot'" in caplog.text or "no native kernels" in caplog.text


def test_the_compiler_is_tried_once(llama: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, compiler = tmp_path / "tried", tmp_path / "c++"
    compiler.write_text(f"#!/bin/sh\necho >> {tried}\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    runner = checked(llama, kernels_dir=tmp_path / "kernels")
    assert runner.backend.kernels.startswith("torch; no native kernels: ")
    assert tried.read_text() == "\n"


def test_native_kernels_are_refused_where_the_model_is_on_another_device(llama: PreTrainedModel) -> None:
    settings = SETTINGS.model_copy(update={"kernels": "native"})
    with pytest.raises(ModelUnsupported, match="kernels is native, which needs a model on the CPU; its device is meta"):
        pick_kernels(llama.to("meta"), settings)


def test_other_routing_in_the_last_bits_is_not_taken_for_other_logits() -> None:
    checked(random_model(OlmoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2), torch.bfloat16))


def by_position(kwargs: dict[str, Any]) -> torch.Tensor:
    positions: torch.Tensor = kwargs["position_ids"][0]
    return positions


def by_past(kwargs: dict[str, Any]) -> torch.Tensor:
    past = kwargs.get("past_key_values")
    before = 0 if past is None else past.get_seq_length(1)
    places: torch.Tensor = torch.arange(kwargs["hidden_states"].shape[1]) + before
    return places


def by_last(kwargs: dict[str, Any]) -> torch.Tensor:
    return by_position(kwargs).max().expand(kwargs["hidden_states"].shape[1])


def change_from(model: PreTrainedModel, first: int, where: Callable[[dict[str, Any]], torch.Tensor]) -> None:
    """Let the second layer attend with other states from a position on. where: how it knows the positions (T,)."""

    def hook(_: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        factor = torch.where(where(kwargs) >= first, -1.0, 1.0)[None, :, None]
        return args, kwargs | {"hidden_states": kwargs["hidden_states"] * factor}

    model.get_decoder().layers[1].self_attn.register_forward_pre_hook(hook, with_kwargs=True)


@pytest.mark.parametrize("first", [100, 250])
@pytest.mark.parametrize("where", [by_position, by_past])
def test_what_begins_far_out_is_seen_and_left_to_the_models_own_code(
    llama: PreTrainedModel, first: int, where: Callable[[dict[str, Any]], torch.Tensor]
) -> None:
    change_from(llama, first, where)
    assert "whole decoder" not in checked(llama).backend.kernels


@pytest.mark.parametrize("first", [100, 250])
def test_what_depends_on_the_farthest_of_a_step_is_refused(llama: PreTrainedModel, first: int) -> None:
    change_from(llama, first, by_last)
    with pytest.raises(ModelUnsupported, match="other logits packed than alone at position"):
        checked(llama)


@pytest.mark.parametrize("context_len", [5, 17, 20, 24, 31, 32, 33, 48, 52, 60])
def test_learned_positions_are_not_passed_however_short_the_context(context_len: int) -> None:
    config = GPT2Config(vocab_size=160, n_embd=64, n_layer=2, n_head=4, n_positions=context_len)
    runner = checked(random_model(config), block_size=16)
    assert runner.backend.variant == checked(random_model(LlamaConfig(**SIZES))).backend.variant


@pytest.mark.parametrize("context_len", [20, 40, 256, 5000, 10_000_000])
def test_far_positions_are_few_and_their_pasts_short(context_len: int) -> None:
    names = {f"{number}_window": 2 * number for number in range(2, 60)}
    found = stands(LlamaConfig(**SIZES, **names), context_len, block_size=16)
    assert 0 < len(found) <= MOST_STANDS
    assert found[-1].position + found[-1].num_tokens == context_len
    for stand in found:
        assert 0 <= stand.num_past <= min(MOST_PAST, stand.position)
        assert stand.num_masked == 0 or stand.position > MOST_PAST
        assert stand.position + stand.num_tokens <= context_len
