"""Looks for watermarks: in texts that somebody sends, and in what was generated."""

from collections.abc import Iterator
from dataclasses import replace

import anyio

from beamhouse.engine.link.errors import InvalidRequest, invalid
from beamhouse.engine.watermark.detection import (
    Flags,
    TooShort,
    green_flags,
    score_green_lists,
    score_synthid,
    synthid_flags,
)
from beamhouse.engine.watermark.profiles import Mark, Profile, find_profile
from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.watermark_detection import Detection, DetectRequest
from beamhouse.schemas.generation.model_rules import PREFIX, watermark_problems
from beamhouse.schemas.generation.resolved import ends_of
from beamhouse.schemas.generation.watermarking import NO_WATERMARK, WatermarkingConfig
from beamhouse.schemas.judge.asked import Prompt
from beamhouse.schemas.judge.name_rules import unknown_watermark
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.translate import AcceptedRequest
from beamhouse.server.service import Model, Service

FIELD = "watermarking_config"
MAX_TOKENS = 32_768
"""Most tokens of one detection, so that it ends within seconds."""
Z_THRESHOLD = 3.0
THRESHOLD = 0.5


def wanted_profile(body: DetectRequest, model: Model) -> Profile:
    """The watermark to look for. Raises InvalidRequest."""
    named = body.watermarking_config or model.config.watermarking_config
    if isinstance(named, str) and named != NO_WATERMARK and named not in model.profiles:
        raise InvalidRequest([unknown_watermark(FIELD, named, model.facts.watermarks)])
    profile = find_profile(named, model.profiles)
    if profile is None:
        known = ", ".join(sorted(model.profiles)) or "none"
        message = f"{FIELD} says no watermark to look for; give one, or the name of one of the server's: {known}"
        raise invalid(FIELD, ProblemCode.MISSING, message)
    problems = [*check_fields(body, profile)]
    for problem in watermark_problems(profile.mark, model.info.vocab_size):
        problems.append(replace(problem, field=problem.field.removeprefix(PREFIX)))
    if problems:
        raise InvalidRequest(problems)
    return profile


def check_fields(body: DetectRequest, profile: Profile) -> Iterator[Problem]:
    """Fields that have no effect with this kind of watermark."""
    if isinstance(profile.mark, WatermarkingConfig):
        if body.threshold is not None:
            yield Problem("threshold", ProblemCode.CONFLICT, "threshold is for SynthID; green lists have z_threshold")
        return
    if body.z_threshold is not None:
        yield Problem("z_threshold", ProblemCode.CONFLICT, "z_threshold is for green lists; SynthID has threshold")
    if body.threshold is not None and profile.weights is None:
        message = "threshold needs a watermark with a trained detector, and there is none for this one"
        yield Problem("threshold", ProblemCode.CONFLICT, message)
    if body.ignore_repeated_ngrams:
        message = "ignore_repeated_ngrams is for green lists; SynthID leaves repeated contexts out anyway"
        yield Problem("ignore_repeated_ngrams", ProblemCode.CONFLICT, message)


def check_size(texts: list[Prompt]) -> None:
    """Raises InvalidRequest for more tokens than one detection looks at."""
    num_tokens = sum(len(text.token_ids) for text in texts)
    if num_tokens > MAX_TOKENS:
        message = f"inputs have {num_tokens} tokens; allowed: at most {MAX_TOKENS} in one detection"
        raise invalid("inputs", ProblemCode.OUT_OF_RANGE, message)


def detect(body: DetectRequest, texts: list[Prompt], profile: Profile, model: Model) -> list[Detection]:
    """The findings in each text. Raises InvalidRequest naming every text that is too short."""
    detections, problems = [], []
    for text in texts:
        try:
            detections.append(detect_one(body, text.token_ids, profile, model))
        except TooShort as error:
            message = f"{text.field} has {len(text.token_ids)} tokens; {error} are needed"
            problems.append(Problem(text.field, ProblemCode.TOO_SHORT, message))
    if problems:
        raise InvalidRequest(problems)
    return detections


def detect_one(body: DetectRequest, token_ids: list[int], profile: Profile, model: Model) -> Detection:
    if isinstance(profile.mark, WatermarkingConfig):
        return detect_green_lists(body, token_ids, profile.mark, model)
    found = score_synthid(profile.mark, token_ids, ends_of(model.config.eos_token_id), profile.weights)
    threshold = THRESHOLD if body.threshold is None else body.threshold
    return Detection(
        num_tokens=len(token_ids),
        num_tokens_scored=found.num_tokens_scored,
        mean=found.mean,
        weighted_mean=found.weighted_mean,
        posterior=found.posterior,
        prediction=None if found.posterior is None else found.posterior > threshold,
        flags=found.flags if body.return_flags else None,
    )


def detect_green_lists(body: DetectRequest, token_ids: list[int], mark: WatermarkingConfig, model: Model) -> Detection:
    found = score_green_lists(
        mark, model.info.vocab_size, token_ids, model.config.bos_token_id, body.ignore_repeated_ngrams
    )
    z_threshold = Z_THRESHOLD if body.z_threshold is None else body.z_threshold
    return Detection(
        num_tokens=len(token_ids),
        num_tokens_scored=found.num_tokens_scored,
        num_green_tokens=found.num_green_tokens,
        green_fraction=found.green_fraction,
        z_score=found.z_score,
        p_value=found.p_value,
        confidence=1 - found.p_value,
        prediction=found.z_score > z_threshold,
        flags=found.flags if body.return_flags else None,
    )


async def add_flags(service: Service, model: Model, accepted: AcceptedRequest, answer: Answer) -> None:
    """Say of each generated token whether it speaks for the mark, if `outputs.watermark_flags` asks for it."""
    if not accepted.outputs.watermark_flags:
        return
    profile = find_profile(accepted.config.watermarking_config, model.profiles)
    assert profile is not None, "checked before anything was computed"

    def flag_all(mark: Mark) -> list[Flags]:
        prompts = [accepted.submissions[sequence.prompt_index].prompt_ids for sequence in answer.sequences]
        return [
            token_flags(mark, model.info.vocab_size, prompt_ids, sequence.token_ids)
            for prompt_ids, sequence in zip(prompts, answer.sequences, strict=True)
        ]

    flags = await anyio.to_thread.run_sync(flag_all, profile.mark, limiter=service.detector_limiter)
    for sequence, own in zip(answer.sequences, flags, strict=True):
        sequence.watermark_flags = own


def token_flags(mark: Mark, vocab_size: int, prompt_ids: list[int], generated: list[int]) -> Flags:
    if isinstance(mark, WatermarkingConfig):
        return green_flags(mark, vocab_size, prompt_ids, generated)
    return synthid_flags(mark, generated)
