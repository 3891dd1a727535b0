"""How a resolved configuration crosses between the processes: what differs from the defaults; nothing is checked.

Its parts that are objects, as a watermark or a constraint, travel as extensions of msgpack, numbered by their classes
in the order in which the fields first mention them. Both processes run the same code, so that they count alike.
"""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, get_args, get_origin

import msgspec
from pydantic import BaseModel

from beamhouse.schemas.generation.resolved import SILENT, Resolved

_UNSAID: dict[str, Any] = vars(SILENT)


def _kinds(hint: Any) -> Iterator[type]:
    """The classes that a type is made of."""
    kind = get_origin(hint) or hint
    if isinstance(kind, type):
        yield kind
    for part in get_args(hint):
        yield from _kinds(part)


_HINTS = {name: field.annotation for name, field in Resolved.model_fields.items()}
_PARTS = list(dict.fromkeys(kind for hint in _HINTS.values() for kind in _kinds(hint) if issubclass(kind, BaseModel)))
# What msgpack has no words for, and what is read as a list or as text.
_CONVERTED = {
    name: hint for name, hint in _HINTS.items() if any(issubclass(kind, tuple | Enum) for kind in _kinds(hint))
}


def to_wire(value: Any) -> Any:
    """What msgspec cannot encode by itself: a configuration, or an object that is a part of one."""
    if isinstance(value, Resolved):
        return said(value)
    return msgspec.msgpack.Ext(_PARTS.index(type(value)), msgspec.msgpack.encode(vars(value)))


def said(config: Resolved) -> dict[str, Any]:
    """The values that differ from their defaults."""
    return {name: value for name, value in vars(config).items() if value != _UNSAID[name]}


def unsaid(config: Resolved, names: Iterable[str]) -> Resolved:
    """The configuration with these values left as they need not be said."""
    return config.changed({name: _UNSAID[name] for name in names})


def to_config(kind: type, content: dict[str, Any]) -> Resolved:
    """The configuration that `to_wire` made this of. kind: Resolved, the only class that is decoded here."""
    assert kind is Resolved
    for name in content.keys() & _CONVERTED.keys():
        content[name] = msgspec.convert(content[name], _CONVERTED[name])
    return SILENT.changed(content)


def to_part(code: int, content: memoryview) -> BaseModel:
    """The object that an extension stands for."""
    return _PARTS[code].model_construct(**msgspec.msgpack.decode(content))
