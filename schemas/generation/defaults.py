"""What silence means for each field, read off the entries of all of them."""

from typing import Any

from beamhouse.schemas.generation.fields import DeclaredFields
from beamhouse.schemas.generation.silence import defaults_of

_DEFAULTS = defaults_of(DeclaredFields.model_fields)

LIBRARY_DEFAULTS: dict[str, Any] = {name: default.value for name, default in _DEFAULTS.items()}
"""Value of each field that nobody sets. `max_length` counts from the end of the prompt here, and only here."""


OURS = frozenset(name for name, default in _DEFAULTS.items() if default.is_ours)
"""The fields that `generate()` does not know, so that a model's own file cannot set them."""


def only_with(field: str) -> tuple[str, ...]:
    """The fields that have an effect only where this one is on."""
    return tuple(name for name, default in _DEFAULTS.items() if default.only == field)


def is_neutral(field: str, value: object) -> bool:
    """Whether this value of this field asks for nothing: unset, the library's default, or a value that means "off"."""
    return value is None or value == _DEFAULTS[field].value or value in _DEFAULTS[field].off
