"""What a request names: token ids, and what the server holds under a name."""

from collections.abc import Iterator, Sequence

from beamhouse.schemas.beamhouse.generate import PrefixAllowedTokens
from beamhouse.schemas.generation.bounds import MAX_IDS
from beamhouse.schemas.generation.model_rules import PREFIX
from beamhouse.schemas.generation.watermarking import NO_WATERMARK
from beamhouse.schemas.judge.asked import Asked, Facts
from beamhouse.schemas.problems import MAX_SHOWN, Problem
from beamhouse.schemas.words import ProblemCode

WATERMARK = PREFIX + "watermarking_config"
CONSTRAINT = "prefix_allowed_tokens"


def ids_outside(token_ids: list[int], field: str, num_ids: int, first: int = 0) -> Iterator[Problem]:
    """A problem for the first id that there is not. num_ids: of the vocabulary. first: the place of the first id."""
    if token_ids and max(token_ids) >= num_ids:
        index = next(index for index, token_id in enumerate(token_ids) if token_id >= num_ids)
        position = first + index
        message = f"{field}[{position}] is {token_ids[index]}; allowed: 0 <= id < {num_ids}"
        yield Problem(f"{field}.{position}", ProblemCode.OUT_OF_RANGE, message)


def unknown_name(field: str, name: str, known: Sequence[str]) -> Problem:
    listed = ", ".join(known[:10]) or "none"
    return Problem(
        field, ProblemCode.UNKNOWN_NAME, f"{name[:MAX_SHOWN]} is not registered on this server; known: {listed}"
    )


def unknown_watermark(field: str, name: str, known: Sequence[str]) -> Problem:
    listed = ", ".join(known[:10]) or "none"
    message = f"no watermark is called {name[:MAX_SHOWN]} on this server; known: {listed}"
    return Problem(field, ProblemCode.UNKNOWN_NAME, message)


def draft_model(asked: Asked, facts: Facts) -> Iterator[Problem]:
    name, known = asked.body.assistant_model, facts.info.assistants
    if name is not None and name not in known:
        yield unknown_name("assistant_model", name, sorted(known))


def prompt_ids(asked: Asked, facts: Facts) -> Iterator[Problem]:
    for prompt in asked.prompts:
        yield from ids_outside(prompt.token_ids, prompt.field, facts.info.vocab_size, prompt.num_dropped)


def constraint(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """What the tokens must follow; what is wrong with a grammar only its compiler knows."""
    given, info = asked.body.prefix_allowed_tokens, facts.info
    if given is None:
        return
    yield from too_many_ids(given)
    yield from ids_outside(given.token_ids or [], f"{CONSTRAINT}.token_ids", info.vocab_size)
    for index, sequence in enumerate(given.sequences or []):
        field = f"{CONSTRAINT}.sequences.{index}"
        yield from ids_outside(sequence, field, info.vocab_size)
        if not sequence:
            yield Problem(field, ProblemCode.EMPTY, "a sequence has no tokens; at least one is needed")
    if given.trie is not None and given.trie not in info.tries:
        yield unknown_name(f"{CONSTRAINT}.trie", given.trie, info.tries)
    if not info.has_tokenizer and any(text is not None for text in (given.regex, given.json_schema, given.grammar)):
        message = "this model has no tokenizer; constrain it by token_ids or sequences"
        yield Problem(CONSTRAINT, ProblemCode.NO_TOKENIZER, message)


def too_many_ids(given: PrefixAllowedTokens) -> Iterator[Problem]:
    num_ids = len(given.token_ids or ())
    if num_ids > MAX_IDS:
        message = f"token_ids has {num_ids} entries; allowed: 1 to {MAX_IDS}"
        yield Problem(CONSTRAINT, ProblemCode.OUT_OF_RANGE, message)
    num_ids = sum(map(len, given.sequences or ()))
    if num_ids > MAX_IDS:
        message = f"sequences hold {num_ids} ids; allowed: at most {MAX_IDS}"
        yield Problem(CONSTRAINT, ProblemCode.OUT_OF_RANGE, message)


def registered_classes(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Names of processors and criteria; what is wrong with the arguments of one only the class itself knows."""
    body, info = asked.body, facts.info
    for field, given, known in (
        ("logits_processor", body.logits_processor, info.logits_processors),
        ("stopping_criteria", body.stopping_criteria, info.stopping_criteria),
    ):
        for index, item in enumerate(given or []):
            if item.name not in known:
                yield unknown_name(f"{field}.{index}.name", item.name, known)


def watermark(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """Which watermark the request may ask for."""
    named, known = asked.own.watermarking_config, facts.watermarks
    is_free = not isinstance(named, str)
    if isinstance(named, str) and named != NO_WATERMARK and named not in known:
        yield unknown_watermark(WATERMARK, named, known)
    elif facts.requires_watermark and named is not None and (is_free or named == NO_WATERMARK):
        message = "this server marks every text: name one of its watermarks, or leave watermarking_config out"
        yield Problem(WATERMARK, ProblemCode.NOT_ALLOWED, message)
    in_force = facts.defaults.watermarking_config if named is None else named
    if facts.requires_watermark and in_force is None and asked.generates:
        message = f"this server marks every text: name one of its watermarks: {', '.join(known[:10])}"
        yield Problem(WATERMARK, ProblemCode.MISSING, message)
    if asked.outputs.watermark_flags and in_force in (None, NO_WATERMARK):
        message = "watermark_flags needs a watermarking_config"
        yield Problem("outputs.watermark_flags", ProblemCode.CONFLICT, message)


def tokenizer(asked: Asked, facts: Facts) -> Iterator[Problem]:
    """What only a model with a tokenizer can be asked."""
    if facts.info.has_tokenizer:
        return
    if asked.config.token_healing:
        yield Problem(PREFIX + "token_healing", ProblemCode.NO_TOKENIZER, "token_healing needs a tokenizer")
    if asked.config.stop_strings is not None:
        message = "stop_strings need a tokenizer, and this model has none"
        yield Problem(PREFIX + "stop_strings", ProblemCode.NOT_SUPPORTED, message)
    if asked.outputs.skip_special_tokens is False:
        message = "skip_special_tokens is about text, and this model has no tokenizer to make any"
        yield Problem("outputs.skip_special_tokens", ProblemCode.NO_TOKENIZER, message)
