"""The models of the golden files and their drafts, and how they are written so that transformers 4.x reads them too.

Run as a script it writes them all: `python -m tests.parity.golden.models FOLDER`.
"""

import copy
import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from tests.parity.models import BUILTIN, reference

FAMILIES = ("llama", "gpt2", "mistral", "builtin")
"""Rotary and learned positions, a sliding window, and the model that ships with the package."""

DRAFT = "draft"
"""The name under which each engine knows its draft model."""

_NUM_LAYERS = {"gpt2": "n_layer"}


@cache
def draft(family: str) -> PreTrainedModel:
    """A small model to draft with: the built-in draft, or the first layer of a tiny model between its own ends."""
    if family == "builtin":
        path = BUILTIN.parent / "draft"
        built: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        return built
    whole = reference(family)
    config = copy.deepcopy(whole.config)
    setattr(config, _NUM_LAYERS.get(family, "num_hidden_layers"), 1)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    own = model.state_dict().keys()
    model.load_state_dict({name: weight for name, weight in whole.state_dict().items() if name in own})
    return model


def sha256_of(model: PreTrainedModel) -> str:
    """Digest of all weights in the order of their names; tied ones count once, as every version names them alike."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(weight.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write(model: PreTrainedModel, folder: Path) -> None:
    """Write a model with a configuration in the words of 4.x, and its digest beside it."""
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(_old_words(model.config), indent=2), encoding="utf-8")
    (folder / "sha256").write_text(sha256_of(model), encoding="utf-8")


def _old_words(config: PretrainedConfig) -> dict[str, Any]:
    """4.x has one key for the base of rotary positions, and another name for the type of the weights."""
    words: dict[str, Any] = {name: value for name, value in config.to_dict().items() if value is not None}
    rope = words.pop("rope_parameters", None)
    if rope is not None:
        assert rope["rope_type"] == "default"
        words["rope_theta"] = rope["rope_theta"]
    for name in ("dtype", "transformers_version"):
        words.pop(name, None)
    return words | {"torch_dtype": "float32", "architectures": [_architecture(config)]}


def _architecture(config: PretrainedConfig) -> str:
    return {"llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel", "mistral": "MistralForCausalLM"}[config.model_type]


def main() -> None:
    folder = Path(sys.argv[1])
    for family in FAMILIES:
        write(reference(family), folder / family)
        write(draft(family), folder / f"{family}-{DRAFT}")


if __name__ == "__main__":
    main()
