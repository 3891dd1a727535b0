"""Which watermark a request may ask for, and what answers show of it."""

from collections.abc import Iterator

from beamhouse.engine.watermark.profiles import HIDDEN_WATERMARK, NO_WATERMARK
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.service import Model

PLACE = "generation_config.watermarking_config"


def check_watermark(asked: GenerationConfig, model: Model, wants_flags: bool = False) -> Iterator[Problem]:
    """asked: the request's own configuration. wants_flags: whether each token is to be flagged."""
    named = asked.watermarking_config
    is_free = not isinstance(named, str)
    if isinstance(named, str) and named != NO_WATERMARK and named not in model.profiles:
        known = ", ".join(sorted(model.profiles)[:10]) or "none"
        message = f"no watermark is called {named[:64]} on this server; known: {known}"
        yield Problem(PLACE, ProblemCode.UNKNOWN_NAME, message)
    elif model.requires_watermark and named is not None and (is_free or named == NO_WATERMARK):
        message = "this server marks every text: name one of its watermarks, or leave watermarking_config out"
        yield Problem(PLACE, ProblemCode.NOT_ALLOWED, message)
    in_force = model.config.watermarking_config if named is None else named
    if model.requires_watermark and in_force is None:
        message = f"this server marks every text: name one of its watermarks: {', '.join(sorted(model.profiles)[:10])}"
        yield Problem(PLACE, ProblemCode.MISSING, message)
    if wants_flags and in_force in (None, NO_WATERMARK):
        yield Problem("outputs.watermark_flags", ProblemCode.CONFLICT, "watermark_flags needs a watermarking_config")


def shown_config(config: GenerationConfig) -> GenerationConfig:
    """The configuration as answers may show it: a watermark by its name, never its keys."""
    mark = config.watermarking_config
    if mark is None or isinstance(mark, str):
        return config
    return config.model_copy(update={"watermarking_config": HIDDEN_WATERMARK})
