"""Which mode a request asks for, how many rows it takes, and what goes with it."""

from collections.abc import Iterator

from beamhouse.schemas.generation.defaults import is_neutral
from beamhouse.schemas.generation.files import OUTPUT_FLAGS
from beamhouse.schemas.generation.model_rules import PREFIX
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.judge.asked import Asked, Facts
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.pydantic_problems import shown
from beamhouse.schemas.words import ProblemCode

OF_NEW_TOKENS = (
    "mode",
    "assistant_model",
    "force_words",
    "prefix_allowed_tokens",
    "logits_processor",
    "stopping_criteria",
    "fill_context",
)
OUTPUTS_OF_NEW_TOKENS = ("transition_scores", "top_n_tokens", "watermark_flags", "progress", "config")
CONFIG_OF_NEW_TOKENS = (
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "token_healing",
    *OUTPUT_FLAGS,
)
"""Fields of a body, of its outputs and of its configuration that ask for something of what is generated."""


def not_obeyed(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """The request's own fields that nobody obeys, and why."""
    reasons = facts.info.not_obeyed
    for name, value in asked.own.set_fields().items():
        if name in reasons and not is_neutral(name, value):
            message = f"{name} is not supported: {reasons[name]}"
            yield Problem(PREFIX + name, ProblemCode.NOT_SUPPORTED, message)


def the_mode(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Whether the mode that runs is the stated one, and one this model is served with."""
    mode, stated, telling = asked.config.mode, asked.body.mode, telling_fields(asked.config)
    if stated is not None and stated != mode:
        yield Problem("mode", ProblemCode.CONFLICT, contradiction(stated, mode, telling))
    # A field that is refused already needs no words about its mode.
    if mode not in facts.info.modes and not any(not_obeyed(asked, facts)):
        field = next(iter(telling), "")
        place = field if field == "assistant_model" else (PREFIX + field).removesuffix(".")
        yield Problem(place, ProblemCode.NOT_SUPPORTED, f"not supported yet: {field or 'this'}, which asks for {mode}")


def telling_fields(config: Resolved) -> dict[str, object]:
    """The fields that ask for the mode, with their values."""
    wishes = (*config.mode.spec.wishes, *config.mode.spec.beside)
    asked = [wish.field for wish in wishes if wish.is_asked(config, config.assistant_model)]
    return {field: getattr(config, field) for field in asked}


def contradiction(stated: GenerationMode, mode: GenerationMode, telling: dict[str, object]) -> str:
    if telling:
        fields = " and ".join(f"{name} ({shown(value)})" for name, value in telling.items())
        return f"mode is {stated}, but {fields} {'asks' if len(telling) == 1 else 'ask'} for {mode}"
    return f"mode is {stated}, but without {' or '.join(stated.spec.fields)} the configuration asks for {mode}"


def rows_of_a_step(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Whether one prompt fits a step. Several are a submission each, which may wait for one another."""
    config, info = asked.config, facts.info
    beams, most = config.num_beams, info.max_beams or info.max_rows
    if beams > most:
        message = f"num_beams is {beams}; allowed on this server: at most {most}"
        yield Problem(PREFIX + "num_beams", ProblemCode.OUT_OF_RANGE, message)
        return
    field, rows, needed = config.mode.spec.row_field, config.num_rows, config.width
    if needed > info.max_rows:
        message = f"{field} is {rows}; allowed: at most {info.max_rows} rows in one step"
        if config.is_guided:
            message += f", and guidance takes two for each, so {needed} here"
        yield Problem(PREFIX + (field if rows > 1 else "guidance_scale"), ProblemCode.OUT_OF_RANGE, message)


def negative_prompts(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Whether a negative prompt has an effect, and room for the new tokens behind it."""
    for config, prompt in zip(asked.configs, asked.prompts, strict=True):
        negative = prompt.negative
        if negative is None:
            continue
        name = negative.field.partition(".")[0]
        if not config.is_guided:
            message = f"{name} needs a guidance_scale other than 1; without, it has no effect"
            yield Problem(name, ProblemCode.CONFLICT, message)
        num_new = config.max_length - prompt.num_tokens
        num_given, most = len(negative.token_ids) + negative.num_masked, facts.info.most_tokens - num_new
        if num_new > 0 and num_given > most:
            message = f"{name} has {num_given} tokens; allowed: at most {max(0, most)} before {num_new} new tokens"
            yield Problem(negative.field, ProblemCode.OUT_OF_RANGE, message)


def lengths(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Whether the context is to be filled, or a length to be kept."""
    if asked.body.fill_context and asked.own.max_length is not None:
        message = "fill_context and max_length exclude each other; give one of them"
        yield Problem("fill_context", ProblemCode.CONFLICT, message)


def outputs(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """What is to be returned beside text and tokens."""
    wanted, config, info = asked.outputs, asked.config, facts.info
    for field, number in asked.num_top_tokens.items():
        if number > info.vocab_size:
            message = f"{field} is {number}; allowed: at most {info.vocab_size}"
            yield Problem(f"outputs.{field}", ProblemCode.OUT_OF_RANGE, message)
    if wanted.tensors == "safetensors" and asked.body.stream:
        message = "a safetensors file cannot travel in an event stream; ask for json or base64, or do not stream"
        yield Problem("outputs.tensors", ProblemCode.CONFLICT, message)
    most = info.num_layers if config.output_attentions and not config.output_hidden_states else info.num_layers + 1
    for index, layer in enumerate(wanted.layers or []):
        if not -most <= layer < most:
            message = f"layers[{index}] is {layer}; allowed: {-most} <= layer < {most}"
            yield Problem(f"outputs.layers.{index}", ProblemCode.OUT_OF_RANGE, message)


def prompts_alone(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """What speaks of generated tokens where there are none. Fields that would shape them are warned about."""
    if asked.generates:
        return
    set_fields = asked.own.set_fields()
    named = [name for name in OF_NEW_TOKENS if getattr(asked.body, name) not in (None, False)]
    named += [f"outputs.{name}" for name in OUTPUTS_OF_NEW_TOKENS if getattr(asked.outputs, name)]
    named += [PREFIX + name for name in CONFIG_OF_NEW_TOKENS if not is_neutral(name, set_fields.get(name))]
    asks_for_none = asked.body.given_names.get("outputs.prompt_only", "outputs.prompt_only")
    for name in named:
        message = f"{asks_for_none} asks for no new tokens; {name.rpartition('.')[2]} needs some"
        yield Problem(name, ProblemCode.CONFLICT, message)


def progress(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Whether there is a stream of a beam search for progress events to be part of."""
    if not asked.outputs.progress:
        return
    if not asked.config.mode.spec.is_search:
        message = f"progress goes with beam search; the configuration asks for {asked.config.mode}"
        yield Problem("outputs.progress", ProblemCode.CONFLICT, message)
    if not asked.body.stream:
        yield Problem("outputs.progress", ProblemCode.CONFLICT, "progress comes as events; ask for a stream")
