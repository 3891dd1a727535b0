"""Which mode a request asks for, how many rows it takes, and what goes with it."""

from collections.abc import Iterator

from beamhouse.schemas.beamhouse.generate import GenerateRequest, Outputs
from beamhouse.schemas.generation.modes import BEAM_MODES, GenerationMode, row_field
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.model_info import ModelInfo
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.pydantic_problems import shown
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.prompts import Prompt


def check_mode(
    stated: GenerationMode | None, config: Resolved, info: ModelInfo, is_explained: bool
) -> Iterator[Problem]:
    """Whether the mode that runs is the stated one, and one this model is served with.

    is_explained: a field was refused already, so that the missing mode needs no words of its own.
    """
    mode, telling = config.mode, telling_fields(config)
    if stated is not None and stated != mode:
        yield Problem("mode", ProblemCode.CONFLICT, contradiction(stated, mode, telling))
    if mode not in info.modes and not is_explained:
        field = next(iter(telling), "")
        place = field if field == "assistant_model" else f"generation_config.{field}".removesuffix(".")
        yield Problem(place, ProblemCode.NOT_SUPPORTED, f"not supported yet: {field or 'this'}, which asks for {mode}")


def telling_fields(config: Resolved) -> dict[str, object]:
    """The set fields that ask for the mode, with their values."""
    spec = config.mode.spec
    asked = [wish for wish in (*spec.wishes, *spec.beside) if wish.is_asked(config, config.assistant_model)]
    return {wish.field: getattr(config, wish.field) for wish in asked}


def contradiction(stated: GenerationMode, mode: GenerationMode, telling: dict[str, object]) -> str:
    if telling:
        fields = " and ".join(f"{name} ({shown(value)})" for name, value in telling.items())
        return f"mode is {stated}, but {fields} {'asks' if len(telling) == 1 else 'ask'} for {mode}"
    return f"mode is {stated}, but without {' or '.join(stated.spec.fields)} the configuration asks for {mode}"


def check_rows(config: Resolved, info: ModelInfo) -> Iterator[Problem]:
    """Whether one prompt fits a step. Several are a submission each, which may wait for one another."""
    beams, most = config.num_beams, info.max_beams or info.max_rows
    if beams > most:
        message = f"num_beams is {beams}; allowed on this server: at most {most}"
        yield Problem("generation_config.num_beams", ProblemCode.OUT_OF_RANGE, message)
        return
    field, rows, needed = row_field(config.mode), config.num_rows, config.width
    if needed > info.max_rows:
        message = f"{field} is {rows}; allowed: at most {info.max_rows} rows in one step"
        if config.is_guided:
            message += f", and guidance takes two for each, so {needed} here"
        yield Problem(f"generation_config.{field if rows > 1 else 'guidance_scale'}", ProblemCode.OUT_OF_RANGE, message)


def check_negative(config: Resolved, prompt: Prompt, info: ModelInfo) -> Iterator[Problem]:
    """Whether a negative prompt has an effect, and room for the new tokens behind it."""
    negative = prompt.negative
    if negative is None:
        return
    name = negative.field.partition(".")[0]
    if not config.is_guided:
        yield Problem(
            name, ProblemCode.CONFLICT, f"{name} needs a guidance_scale other than 1; without, it has no effect"
        )
    num_new = config.max_length - len(prompt.token_ids)
    num_given, most = len(negative.token_ids) + negative.num_masked, info.most_tokens - num_new
    if num_new > 0 and num_given > most:
        message = f"{name} has {num_given} tokens; allowed: at most {max(0, most)} before {num_new} new tokens"
        yield Problem(negative.field, ProblemCode.OUT_OF_RANGE, message)


def check_progress(body: GenerateRequest, config: Resolved) -> Iterator[Problem]:
    """Whether there is a stream of a beam search for progress events to be part of."""
    if not (body.outputs or Outputs()).progress:
        return
    if config.mode not in BEAM_MODES:
        message = f"progress goes with beam search; the configuration asks for {config.mode}"
        yield Problem("outputs.progress", ProblemCode.CONFLICT, message)
    if not body.stream:
        yield Problem("outputs.progress", ProblemCode.CONFLICT, "progress comes as events; ask for a stream")
