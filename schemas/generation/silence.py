"""How the entry of a field says what silence means: a default, and values that ask for nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic.fields import FieldInfo

Silent = TypeVar("Silent", covariant=True)
"""What a field with a default may hold beside its values: as it is asked None, once it is resolved nothing (Never)."""

UNSET: Any = None
"""The value of a field that nobody has set. As Any, so that a field may begin with it that is never None at last."""


@dataclass(frozen=True, slots=True)
class Default:
    """value: what the library takes where nobody sets the field. off: values beside it that ask for nothing either.

    only: the field that has to be on for this one to have an effect. is_ours: whether the library has no such field.
    """

    value: object = None
    off: tuple[object, ...] = ()
    only: str = ""
    is_ours: bool = False


def defaults_of(fields: Mapping[str, FieldInfo]) -> dict[str, Default]:
    """What the entry of each field says of silence; nothing where it says nothing."""
    given = {name: [mark for mark in field.metadata if isinstance(mark, Default)] for name, field in fields.items()}
    return {name: marks[0] if marks else Default() for name, marks in given.items()}
