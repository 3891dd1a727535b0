"""What a configuration may ask of one model: ids inside its vocabulary, lengths inside its context."""

from collections.abc import Iterator, Mapping
from typing import Any

from beamhouse.schemas.generation.fields import GenerationFields
from beamhouse.schemas.generation.modes import mode_of
from beamhouse.schemas.generation.parts import AnyConstraint, DisjunctiveConstraint, PhrasalConstraint
from beamhouse.schemas.generation.resolved import ends_of
from beamhouse.schemas.generation.watermarking import WatermarkingConfig
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.words import ProblemCode

PREFIX = "generation_config."
SELFHASH_CANDIDATES = 40
ID_FIELDS = (
    "eos_token_id",
    "pad_token_id",
    "bos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_decoder_ids",
    "bad_words_ids",
    "force_words_ids",
    "constraints",
    "sequence_bias",
)


def check_model(
    config: GenerationFields,
    *,
    vocab_size: int,
    context_len: int | None,
    prompt_len: int,
    prompt_field: str = "inputs",
    num_layers: int | None = None,
) -> list[Problem]:
    """Everything a resolved configuration asks that this model cannot do with a prompt of this length.

    num_layers: None where it is not known; layers are not checked then.
    """
    return [
        *length_problems(config, context_len, prompt_len, prompt_field),
        *id_problems(config, vocab_size),
        *_vocabulary_problems(config, vocab_size),
        *watermark_problems(config.watermarking_config, vocab_size),
        *(_layer_problems(config, num_layers) if num_layers is not None else ()),
    ]


def ids_of(config: GenerationFields, field: str) -> Iterator[int]:
    """All token ids that a field holds."""
    value = getattr(config, field)
    if field == "sequence_bias":
        value = [ids for ids, _ in value or ()]
    elif field == "forced_decoder_ids":
        value = [token_id for _, token_id in value or () if token_id is not None]
    elif field == "constraints":
        value = [_constraint_ids(constraint) for constraint in value or ()]
    return _flat(value)


def _constraint_ids(constraint: AnyConstraint) -> list[Any]:
    match constraint:
        case PhrasalConstraint():
            return constraint.token_ids
        case DisjunctiveConstraint():
            return constraint.nested_token_ids
        case _:
            return constraint.phrases


def _flat(value: Any) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif value and isinstance(value[0], int):
        yield from value  # there may be very many of them
    else:
        for part in value or ():
            yield from _flat(part)


def length_problems(
    config: GenerationFields, context_len: int | None, prompt_len: int, prompt_field: str
) -> Iterator[Problem]:
    """What of this depends on the prompt: whether it and the new tokens fit, and the minimum below the maximum."""
    limit = config.max_length
    if context_len is not None and prompt_len >= context_len:
        message = f"prompt has {prompt_len} tokens; allowed: at most {context_len - 1}"
        yield Problem(prompt_field, ProblemCode.CONTEXT_EXCEEDED, message)
        return
    if limit is None:
        return
    if prompt_len >= limit:
        message = f"max_length is {limit}; allowed: more than the {prompt_len} tokens of the prompt"
        yield Problem(PREFIX + "max_length", ProblemCode.OUT_OF_RANGE, message)
    elif context_len is not None and limit > context_len:
        if config.max_new_tokens is not None:
            most = context_len - prompt_len
            message = f"max_new_tokens is {config.max_new_tokens}; allowed: at most {most} after this prompt"
            yield Problem(PREFIX + "max_new_tokens", ProblemCode.CONTEXT_EXCEEDED, message)
        else:
            message = f"max_length is {limit}; allowed: at most {context_len}"
            yield Problem(PREFIX + "max_length", ProblemCode.CONTEXT_EXCEEDED, message)
    least = config.min_length or 0
    if least > limit > prompt_len:
        field = "min_length" if config.min_new_tokens is None else "min_new_tokens"
        shown, most = (least, limit) if field == "min_length" else (config.min_new_tokens, limit - prompt_len)
        yield Problem(
            PREFIX + field, ProblemCode.CONFLICT, f"{field} is {shown}; allowed: at most {most}, where generation ends"
        )


def id_problems(config: GenerationFields, vocab_size: int, prefix: str = PREFIX) -> Iterator[Problem]:
    """One problem for each field that holds an id outside the vocabulary."""
    for field in ID_FIELDS:
        outside = next((token_id for token_id in ids_of(config, field) if token_id >= vocab_size), None)
        if outside is not None:
            holds = "is" if isinstance(getattr(config, field), int) else "holds"
            message = f"{field} {holds} {outside}; allowed: 0 <= id < {vocab_size}, the size of the vocabulary"
            yield Problem(prefix + field, ProblemCode.OUT_OF_RANGE, message)


def without_foreign_ids(config: GenerationFields, vocab_size: int) -> dict[str, Any]:
    """New values for fields that hold ids outside the vocabulary: lists of ids keep the others, the rest is unset."""
    changes: dict[str, Any] = {}
    for field in ID_FIELDS:
        if all(token_id < vocab_size for token_id in ids_of(config, field)):
            continue
        value = getattr(config, field)
        is_flat = isinstance(value, list) and all(isinstance(item, int) for item in value)
        changes[field] = [token_id for token_id in value if token_id < vocab_size] or None if is_flat else None
    return changes


def without_negative_ids(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The content of a model's file, its lists of ids without negative ones: no token has them, as the library sees it.

    A list that would be empty is gone. Beside it a problem for each such field.
    """
    kept, problems = dict(content), []
    for field in ID_FIELDS:
        value = content.get(field)
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            continue
        negative = next((token_id for token_id in value if token_id < 0), None)
        if negative is not None:
            kept[field] = [token_id for token_id in value if token_id >= 0] or None
            problems.append(Problem(field, ProblemCode.OUT_OF_RANGE, f"{field} holds {negative}; allowed: 0 <= id"))
    return kept, problems


def _vocabulary_problems(config: GenerationFields, vocab_size: int) -> Iterator[Problem]:
    suppressed = set(config.suppress_tokens or ())
    if len(suppressed) >= vocab_size:
        yield Problem(PREFIX + "suppress_tokens", ProblemCode.CONFLICT, "suppress_tokens leaves no token to choose")
    elif len(suppressed | set(config.begin_suppress_tokens or ())) >= vocab_size:
        message = "begin_suppress_tokens and suppress_tokens leave no first token to choose"
        yield Problem(PREFIX + "begin_suppress_tokens", ProblemCode.CONFLICT, message)
    if config.exponential_decay_length_penalty is not None and not ends_of(config.eos_token_id):
        message = "exponential_decay_length_penalty needs eos_token_id"
        yield Problem(PREFIX + "exponential_decay_length_penalty", ProblemCode.CONFLICT, message)
    spec = mode_of(config).spec
    if spec.row_field == "top_k" and config.top_k is not None and config.top_k > vocab_size:
        message = f"top_k is {config.top_k}; allowed in {spec.words}: at most {vocab_size}"
        yield Problem(PREFIX + "top_k", ProblemCode.OUT_OF_RANGE, message)


def _layer_problems(config: GenerationFields, num_layers: int) -> Iterator[Problem]:
    exit_layer = config.assistant_early_exit
    if exit_layer is not None and exit_layer > num_layers:
        message = f"assistant_early_exit is {exit_layer}; allowed: at most {num_layers}, the layers of the model"
        yield Problem(PREFIX + "assistant_early_exit", ProblemCode.OUT_OF_RANGE, message)
    layers = config.dola_layers if isinstance(config.dola_layers, list) else []
    outside = next((layer for layer in layers if layer >= num_layers), None)
    if outside is not None:
        # The library leaves such a layer out without a word.
        message = f"dola_layers holds {outside}; allowed: 0 <= layer < {num_layers}, the last layer"
        yield Problem(PREFIX + "dola_layers", ProblemCode.OUT_OF_RANGE, message)


def watermark_problems(mark: object, vocab_size: int) -> Iterator[Problem]:
    """What a green list asks that a vocabulary of this size cannot give. mark: a `watermarking_config` of any kind."""
    if not isinstance(mark, WatermarkingConfig):
        return
    if int(vocab_size * mark.greenlist_ratio) < 1:
        message = f"greenlist_ratio is {mark.greenlist_ratio}; no token of {vocab_size} would be green"
        yield Problem(PREFIX + "watermarking_config.greenlist_ratio", ProblemCode.OUT_OF_RANGE, message)
    if mark.seeding_scheme == "selfhash" and vocab_size < SELFHASH_CANDIDATES:
        message = f"seeding_scheme is selfhash; it needs a vocabulary of {SELFHASH_CANDIDATES} tokens"
        yield Problem(PREFIX + "watermarking_config.seeding_scheme", ProblemCode.CONFLICT, message)
