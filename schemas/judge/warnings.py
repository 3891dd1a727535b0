"""What of a request has no effect, or takes the model where it was not trained: said, not refused."""

from collections.abc import Iterator

from beamhouse.schemas.generation.defaults import is_neutral
from beamhouse.schemas.generation.field_rules import find_warnings
from beamhouse.schemas.judge.asked import Asked, Facts
from beamhouse.schemas.judge.budget import TENSOR_FIELDS


def warnings(asked: Asked, facts: Facts) -> list[str]:
    """As sentences."""
    config, own_fields = asked.config, asked.own.set_fields().keys()
    return [
        *asked.own.origin_warnings(),
        *find_warnings(config, own_fields, config.assistant_model),
        *idle_outputs(asked),
        *inherited_fields(asked, facts),
        *long_sequences(asked, facts),
    ]


def idle_outputs(asked: Asked) -> Iterator[str]:
    """What `outputs` asks of tensors that nothing returns."""
    idle = [name for name in ("tensors", "positions", "layers") if getattr(asked.outputs, name) is not None]
    if idle and not any(getattr(asked.config, field) for field in TENSOR_FIELDS):
        named = ", ".join(f"outputs.{name}" for name in idle)
        yield f"without an output_* field in generation_config these have no effect: {named}"


def inherited_fields(asked: Asked, facts: Facts) -> Iterator[str]:
    """Fields of the model's own file that are not obeyed and that the request did not set."""
    reasons, own_fields = facts.info.not_obeyed, asked.own.set_fields()
    for name, value in facts.defaults.set_fields().items():
        if name in reasons and name not in own_fields and not is_neutral(name, value):
            yield f"{name} of the model's generation_config.json has no effect: {reasons[name]}"


def long_sequences(asked: Asked, facts: Facts) -> Iterator[str]:
    longest, made_for = max(config.max_length for config in asked.configs), facts.info.context_len
    if longest > made_for:
        yield f"a sequence may come to {longest} tokens, and the model is made for {made_for}"
