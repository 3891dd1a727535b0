"""Writes a deeper model that says the same: the built-in one with layers behind its own that add nothing.

    python -m benchmarks.models.deepened DIRECTORY [--layers 24]

Drafts pay where a step of the main model costs much more than one of the draft model, which two small models of this
package cannot show. The added layers do all their work and write zeros, so that the draft model agrees as often as with
the built-in model while a step costs as much as the layers say.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from beamhouse.engine.loading.files import BUILTIN_FILES

SILENT = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
"""What a layer adds goes through these."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.models.deepened", description="Deeper, and says the same.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--layers", type=int, default=24, help="layers in all")
    options = parser.parse_args()
    write(options.directory, options.layers)


def write(directory: Path, num_layers: int) -> None:
    """The built-in model with its tokenizer and `num_layers` layers, of which the first are its own."""
    shutil.copytree(BUILTIN_FILES, directory, dirs_exist_ok=True)
    model: Any = AutoModelForCausalLM.from_pretrained(BUILTIN_FILES, dtype=torch.float32)  # Any: typed by no library
    config = AutoConfig.from_pretrained(BUILTIN_FILES)
    num_own, config.num_hidden_layers = config.num_hidden_layers, num_layers
    deeper: Any = AutoModelForCausalLM.from_config(config)
    weights = model.state_dict()
    for name, weight in deeper.state_dict().items():
        number = name.split(".")[2] if name.startswith("model.layers.") else ""
        source = name if not number or int(number) < num_own else name.replace(f".{number}.", f".{num_own - 1}.", 1)
        is_added = source != name
        weight.copy_(torch.zeros_like(weight) if is_added and name.endswith(SILENT) else weights[source])
    deeper.generation_config = model.generation_config
    deeper.save_pretrained(directory)


if __name__ == "__main__":
    main()
