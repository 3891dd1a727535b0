"""`force_words`: the words an answer must hold, as token ids."""

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.bounds import MAX_FORCED, MAX_PHRASE_IDS
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode
from beamhouse.server.asking.prompts import encode
from beamhouse.server.service import Model, Service

IDS = "force_words_ids"


async def with_force_words(
    service: Service, model: Model, body: GenerateRequest, asked: GenerationConfig
) -> GenerationConfig:
    """The configuration with the words behind the phrases given as ids. Raises InvalidRequest."""
    if body.force_words is None:
        return asked
    texts = {
        f"force_words.{index}" + (f".{place}" if isinstance(item, list) else ""): word
        for index, item in enumerate(body.force_words)
        for place, word in enumerate(item if isinstance(item, list) else [item])
    }
    phrases = await encode_words(service, model, texts)
    check_phrases(phrases, len(body.force_words) + len(asked.force_words_ids or []))
    in_order = iter(phrases.values())
    words = [[next(in_order) for _ in item] if isinstance(item, list) else next(in_order) for item in body.force_words]
    return asked.model_copy(update={IDS: [*(asked.force_words_ids or []), *words]})


async def encode_words(service: Service, model: Model, texts: dict[str, str]) -> dict[str, list[int]]:
    """Token ids of words as they stand inside a text, without special tokens.

    A word has a space before it there. Some tokenizers put it in by themselves; for the others it is written out.
    A word that begins with white space is taken as it is.
    """
    text = model.need_text("force_words")
    bare = dict(zip(texts, await encode(service, model, texts, add_special_tokens=False), strict=True))
    spaced = {
        field: f" {word}"
        for field, word in texts.items()
        if not word[0].isspace() and not (bare[field] and text.token_text(bare[field][0]).startswith(" "))
    }
    if not spaced:
        return bare
    return bare | dict(zip(spaced, await encode(service, model, spaced, add_special_tokens=False), strict=True))


def check_phrases(phrases: dict[str, list[int]], number: int) -> None:
    """The bounds of `force_words_ids`, for what became of the words. number: of all phrases and choices together."""
    problems = [
        Problem(field, ProblemCode.EMPTY, "force_words holds a word without tokens")
        for field in phrases
        if not phrases[field]
    ]
    problems += [
        Problem(field, ProblemCode.TOO_LONG, f"a word has {len(ids)} tokens; allowed: at most {MAX_PHRASE_IDS}")
        for field, ids in phrases.items()
        if len(ids) > MAX_PHRASE_IDS
    ]
    if number > MAX_FORCED:
        message = f"force_words and {IDS} have {number} entries together; allowed: at most {MAX_FORCED}"
        problems.append(Problem("force_words", ProblemCode.OUT_OF_RANGE, message))
    if problems:
        raise InvalidRequest(problems)


def by_given_name(problem: Problem, body: GenerateRequest, asked: GenerationConfig) -> Problem:
    """A problem of `force_words_ids` under the name of the field it came from, where all of them came as words."""
    if body.force_words is None or len(asked.force_words_ids or []) != len(body.force_words):
        return problem
    field = "force_words" if problem.field == f"generation_config.{IDS}" else problem.field
    return Problem(field, problem.code, problem.message.replace(IDS, "force_words"))
