"""The configuration that runs: nothing is left to be decided."""

from collections.abc import Mapping
from typing import Any, Never, Self, TypeVar

from pydantic import ConfigDict

from beamhouse.schemas.generation.defaults import LIBRARY_DEFAULTS, is_neutral
from beamhouse.schemas.generation.fields import DeclaredFields, GenerationFields
from beamhouse.schemas.generation.modes import GenerationMode, mode_of

Value = TypeVar("Value")

NGRAM = 2
"""Longest n-gram that prompt lookup looks for where nobody says; as in the library, the field itself stays unset."""


class Resolved(DeclaredFields[Never]):
    """Every field of one prompt's generation as it is obeyed, and what follows from them; never changed.

    It is made (`of`, `changed`), never parsed: what it is made of was checked before. None is left only where it means
    that a field asks for nothing. mode: the one that runs. assistant_model: name of the model that drafts.
    num_rows: of a step, without the shadows of guidance. eos_token_ids: in the order of `eos_token_id`.
    longest_ngram: tokens of the longest n-gram that prompt lookup looks for.
    """

    model_config = ConfigDict(frozen=True)

    mode: GenerationMode = GenerationMode.GREEDY_SEARCH
    assistant_model: str | None = None
    num_rows: int = 1
    is_guided: bool = False
    eos_token_ids: tuple[int, ...] = ()
    longest_ngram: int = NGRAM

    @staticmethod
    def of(config: GenerationFields, assistant_model: str | None = None) -> "Resolved":
        """Fills the library's defaults in, and decides the rest. config: with `max_length`."""
        assert config.max_length is not None, "a resolved configuration says how long a sequence may be"
        filled = SILENT.changed(config.set_fields())
        mode = mode_of(filled, assistant_model)
        decided = {
            "mode": mode,
            "assistant_model": assistant_model,
            "num_rows": getattr(filled, mode.spec.row_field),
            "is_guided": not is_neutral("guidance_scale", config.guidance_scale),
            "eos_token_ids": ends_of(config.eos_token_id),
            "longest_ngram": config.max_matching_ngram_size or NGRAM,
        }
        return filled.changed(decided)

    def changed(self, values: Mapping[str, Any]) -> Self:
        """The same with other values in some places. What follows from these is not decided anew."""
        return self.model_copy(update=values)

    @property
    def width(self) -> int:
        """Rows of a step, shadows of guidance included."""
        return 2 * self.num_rows if self.is_guided else self.num_rows


SILENT = Resolved.model_construct(**LIBRARY_DEFAULTS)
"""What runs where nobody says anything, but for the length."""


def ends_of(eos_token_id: int | list[int] | None) -> tuple[int, ...]:
    """The end tokens, whichever way a configuration says them."""
    if eos_token_id is None:
        return ()
    return (eos_token_id,) if isinstance(eos_token_id, int) else tuple(eos_token_id)


def given(value: Value | None) -> Value:
    """The value of a field without a default that is known to be set, since its reader is there only then."""
    assert value is not None
    return value
