"""A decoder that is its first layers for the time of a pass."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.runners.layer_list import LayerList


def model_of(num_layers: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 16, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 1}
    return LlamaForCausalLM(LlamaConfig(num_hidden_layers=num_layers, **sizes)).eval()


@torch.inference_mode()
def logits_of(model: LlamaForCausalLM) -> torch.Tensor:
    return model(torch.arange(5)[None], use_cache=False).logits


def test_a_cut_model_is_a_model_of_so_many_layers():
    model, short = model_of(3), model_of(1)
    short.load_state_dict(model.state_dict(), strict=False)
    layers = LayerList(model)
    with layers.cut(1):
        assert torch.equal(logits_of(model), logits_of(short))
    assert len(layers) == 3


def test_after_a_pass_that_fails_the_model_is_whole_again():
    model = model_of(3)
    expected, layers = logits_of(model), model.model.layers
    with pytest.raises(RuntimeError, match="in the pass"), LayerList(model).cut(2):
        raise RuntimeError("in the pass")
    assert model.model.layers is layers
    assert model.config.num_hidden_layers == 3
    assert torch.equal(logits_of(model), expected)


def test_a_model_whose_layers_are_not_one_list_is_refused():
    model = model_of(3)
    model.model.layers = torch.nn.Sequential(*model.model.layers)
    with pytest.raises(ModelUnsupported, match="LlamaModel has no list of 3 layers"):
        LayerList(model)
