"""What of a request has no effect, or takes the model where it was not trained: said, not refused."""

from collections.abc import Iterator

from beamhouse.schemas.generation.defaults import is_neutral
from beamhouse.schemas.generation.field_rules import find_warnings
from beamhouse.schemas.judge.asked import Asked, Facts
from beamhouse.schemas.judge.budget import TENSOR_FIELDS

OF_PROMPTS = ("num_return_sequences", "bos_token_id")
"""Fields of the configuration that have a meaning where nothing is generated."""


def warnings(asked: Asked, facts: Facts) -> list[str]:
    """As sentences."""
    config, own_fields = asked.config, asked.own.set_fields().keys()
    return [
        *asked.own.origin_warnings(),
        *find_warnings(config, own_fields, config.assistant_model),
        *idle_outputs(asked),
        *idle_beside_prompts(asked),
        *inherited_fields(asked, facts),
        *long_sequences(asked, facts),
    ]


def idle_outputs(asked: Asked) -> Iterator[str]:
    """What `outputs` asks of tensors and scores that nothing returns."""
    idle = [name for name in ("tensors", "positions", "layers") if getattr(asked.outputs, name) is not None]
    if idle and not any(getattr(asked.config, field) for field in TENSOR_FIELDS):
        named = ", ".join(f"outputs.{name}" for name in idle)
        yield f"without an output_* field in generation_config these have no effect: {named}"
    if asked.outputs.logprobs is not None and not (asked.outputs.transition_scores or asked.outputs.top_n_tokens):
        yield "without transition_scores and top_n_tokens outputs.logprobs has no effect"


def idle_beside_prompts(asked: Asked) -> Iterator[str]:
    """Fields of the configuration that would shape what is generated, where nothing is."""
    own = {} if asked.generates else asked.own.set_fields()
    idle = [name for name, value in own.items() if name not in OF_PROMPTS and not is_neutral(name, value)]
    if idle:
        yield f"outputs.prompt_only generates nothing, so that these have no effect: {', '.join(idle)}"


def inherited_fields(asked: Asked, facts: Facts) -> Iterator[str]:
    """Fields of the model's own file that are not obeyed and that the request did not set."""
    reasons, own_fields = facts.info.not_obeyed, asked.own.set_fields()
    for name, value in facts.defaults.set_fields().items():
        if name in reasons and name not in own_fields and not is_neutral(name, value):
            yield f"{name} of the model's generation_config.json has no effect: {reasons[name]}"


def long_sequences(asked: Asked, facts: Facts) -> Iterator[str]:
    longest = max(config.max_length for config in asked.configs) - (not asked.generates)
    made_for = facts.info.context_len
    if longest > made_for:
        yield f"a sequence may come to {longest} tokens, and the model is made for {made_for}"
