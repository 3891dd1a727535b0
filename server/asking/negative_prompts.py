"""From the `negative_prompt` fields to token ids, one list for each prompt."""

from collections.abc import Iterator
from dataclasses import replace

from beamhouse.engine.link.errors import InvalidRequest, invalid
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.judge.asked import NegativePrompt, Prompt
from beamhouse.schemas.judge.name_rules import ids_outside
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.prompts import encode
from beamhouse.server.service import Model, Service

TEXT, IDS, MASK = "negative_prompt", "negative_prompt_ids", "negative_prompt_attention_mask"


async def with_negative_prompts(
    service: Service, model: Model, body: GenerateRequest, prompts: list[Prompt]
) -> list[Prompt]:
    """The prompts, each with what guidance leads away from, if that was given. Raises InvalidRequest."""
    if body.negative_prompt_attention_mask is not None and body.negative_prompt_ids is None:
        raise invalid(MASK, ProblemCode.CONFLICT, f"{MASK} needs {IDS}")
    if body.negative_prompt is not None:
        negatives = await read_texts(service, model, body.negative_prompt, len(prompts))
    elif body.negative_prompt_ids is not None:
        negatives = read_ids(body, len(prompts), model.info.vocab_size)
    else:
        return prompts
    return [replace(prompt, negative=negative) for prompt, negative in zip(prompts, negatives, strict=True)]


async def read_texts(service: Service, model: Model, given: str | list[str], number: int) -> list[NegativePrompt]:
    if isinstance(given, str):
        texts = {TEXT: given}
    else:
        check_number_of(TEXT, len(given), number)
        texts = {f"{TEXT}.{index}": text for index, text in enumerate(given)}
    encoded = await encode(service, model, texts)
    negatives = [NegativePrompt(ids, field) for field, ids in zip(texts, encoded, strict=True)]
    return spread(negatives, number)


def read_ids(body: GenerateRequest, number: int, vocab_size: int) -> list[NegativePrompt]:
    """The ids that are attended to, and how many positions before them are not."""
    given, mask = body.negative_prompt_ids or [], body.negative_prompt_attention_mask
    lists = {f"{IDS}.{index}": ids for index, ids in enumerate(given) if isinstance(ids, list)}
    if lists:
        check_number_of(IDS, len(lists), number)
    else:
        lists = {IDS: [token_id for token_id in given if isinstance(token_id, int)]}
    masks = read_masks(mask, list(lists)) if mask is not None else [[1] * len(ids) for ids in lists.values()]
    problems = [problem for field, ids in lists.items() for problem in ids_outside(ids, field, vocab_size)]
    for (field, ids), bits in zip(lists.items(), masks, strict=True):
        problems += check_mask(field.replace(IDS, MASK), bits, len(ids))
    if problems:
        raise InvalidRequest(problems)
    negatives = [
        NegativePrompt(ids[len(bits) - sum(bits) :], field, num_masked=len(bits) - sum(bits))
        for (field, ids), bits in zip(lists.items(), masks, strict=True)
    ]
    return spread(negatives, number)


def read_masks(mask: list[int] | list[list[int]], fields: list[str]) -> list[list[int]]:
    """One mask for each list of ids. fields: those the ids came from."""
    nested = [bits for bits in mask if isinstance(bits, list)]
    is_flat = fields == [IDS]
    if is_flat == bool(nested) or (nested and len(nested) != len(fields)):
        shape = "one mask" if is_flat else f"{len(fields)} masks, one for each list"
        raise invalid(MASK, ProblemCode.CONFLICT, f"{MASK} does not fit {IDS}; expected {shape}")
    return nested or [[bit for bit in mask if isinstance(bit, int)]]


def check_mask(field: str, bits: list[int], num_ids: int) -> Iterator[Problem]:
    """Positions that are not attended to are padding in front; a hole among the tokens is refused."""
    if len(bits) != num_ids:
        yield Problem(
            field, ProblemCode.CONFLICT, f"{MASK} has {len(bits)} entries for {num_ids} ids; give one for each"
        )
    elif num_ids and 1 not in bits:
        yield Problem(field, ProblemCode.CONFLICT, f"{MASK} has no 1; at least one token must be attended to")
    elif bits and 0 in bits[bits.index(1) :]:
        position = bits.index(0, bits.index(1))
        yield Problem(
            f"{field}.{position}",
            ProblemCode.CONFLICT,
            f"{MASK}[{position}] is 0 behind a 1; zeros may only stand in front",
        )


def check_number_of(field: str, given: int, number: int) -> None:
    if given != number:
        message = f"{field} has {given} entries for {number} prompts; give one for all, or one for each"
        raise invalid(field, ProblemCode.CONFLICT, message)


def spread(negatives: list[NegativePrompt], number: int) -> list[NegativePrompt]:
    """One for each prompt, where one may stand for all. Raises InvalidRequest for those without tokens."""
    empty = [
        Problem(
            negative.field, ProblemCode.EMPTY, f"{negative.field.partition('.')[0]} has no tokens; give at least one"
        )
        for negative in negatives
        if not negative.token_ids
    ]
    if empty:
        raise InvalidRequest(empty)
    return negatives if len(negatives) == number else negatives * number
