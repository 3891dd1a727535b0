"""How many token ids and phrases a configuration holds."""

from collections.abc import Iterator, Sequence, Sized
from typing import Any

from beamhouse.schemas.generation.fields import GenerationFields
from beamhouse.schemas.generation.parts import AnyConstraint, DisjunctiveConstraint, PhrasalConstraint

PHRASE_ITEMS = 4
"""A phrase is to be built as much as so many token ids."""


def num_items(config: GenerationFields) -> dict[str, int]:
    """Token ids of each field that holds many, and for each phrase `PHRASE_ITEMS` more."""
    flat: dict[str, Sized | None] = {
        "suppress_tokens": config.suppress_tokens,
        "begin_suppress_tokens": config.begin_suppress_tokens,
        "eos_token_id": config.eos_token_id if isinstance(config.eos_token_id, list) else None,
        "forced_decoder_ids": config.forced_decoder_ids,
    }
    counts = {field: len(ids) for field, ids in flat.items() if ids is not None}
    for field in ("bad_words_ids", "sequence_bias", "force_words_ids", "constraints"):
        lengths = [len(phrase) for phrase in phrases_of(config, field)]
        counts[field] = sum(lengths) + PHRASE_ITEMS * len(lengths)
    return counts


def num_phrases(config: GenerationFields, fields: Sequence[str]) -> int:
    """Phrases of these fields together."""
    return sum(1 for field in fields for _ in phrases_of(config, field))


def phrases_of(config: GenerationFields, field: str) -> Iterator[Sequence[int]]:
    """The phrases that a field holds, choices and ordered ones taken apart."""
    for item in getattr(config, field) or ():
        if field == "sequence_bias":
            yield item[0]
        elif field == "constraints":
            yield from _phrases_of_constraint(item)
        elif item and isinstance(item[0], list):
            yield from item
        else:
            yield item


def _phrases_of_constraint(constraint: AnyConstraint) -> Sequence[list[int]]:
    match constraint:
        case PhrasalConstraint():
            return [constraint.token_ids]
        case DisjunctiveConstraint():
            return constraint.nested_token_ids
        case _:
            return constraint.phrases


def num_ids(nested: Any) -> int:
    """Token ids of a list, or of lists in it."""
    return sum(len(item) if isinstance(item, list) else 1 for item in nested)
