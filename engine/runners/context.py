"""How long the sequences of a model may be, and how long it was made for."""

from torch import nn
from transformers import PreTrainedModel

from beamhouse.engine.state.decoder_config import decoder_config

TABLES = ("pos", "wpe")
"""What the names of learned positions contain."""


def num_positions(model: PreTrainedModel) -> int | None:
    """The length that a model's configuration names, which is where a silent `generate()` ends; None where none is."""
    limit = getattr(decoder_config(model.config), "max_position_embeddings", None)
    return int(limit) if limit and limit > 0 else None


def made_for(model: PreTrainedModel) -> int | None:
    """The length a model is made for: its positions, or what they are stretched to; None where it names none.

    The configuration of linear and dynamic scales names the length of training as a rule, that of yarn either.
    """
    limit = num_positions(model)
    scale = getattr(decoder_config(model.config), "rope_parameters", None) or {}
    kind, factor = scale.get("rope_type"), scale.get("factor") or 1.0
    if limit is None:
        return None
    if kind in ("linear", "dynamic"):
        return int(limit * factor)
    if kind == "yarn":
        return max(limit, int(factor * (scale.get("original_max_position_embeddings") or limit)))
    return limit


def end_of(model: PreTrainedModel) -> int | None:
    """The length beyond which a model has no positions; None where it has, since they are angles, not rows of a table.

    `generate()` goes on with a warning beyond those that the configuration names.
    """
    has_angles = any(name.endswith("inv_freq") for name, _ in model.named_buffers())
    names = [name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Embedding)]
    has_table = any(part in name for name in names for part in TABLES)
    return None if has_angles and not has_table else num_positions(model)
