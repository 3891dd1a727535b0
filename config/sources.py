"""Where settings come from: the environment, a file, and the defaults of this package."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

PREFIX = "BEAMHOUSE_"
FILE_VARIABLE = "BEAMHOUSE_CONFIG"
DEFAULT = "default"

# What Kubernetes sets for services whose names begin with "beamhouse": addresses, not settings.
INJECTED_NAME = re.compile(
    r"BEAMHOUSE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
INJECTED_VALUE = re.compile(r"(tcp|udp|sctp)://.*")


class InvalidSettings(ValueError):
    """A setting is unknown or out of its range; the text has one line for each, with the place it came from."""


@dataclass(frozen=True, slots=True)
class Given:
    """One setting as a source gave it. where: a variable, a file, or `default`."""

    value: Any
    where: str


Layer = dict[str, Given]
"""What one source gives, by key."""


def read_environment(environ: Mapping[str, str], keys: Iterable[str]) -> Layer:
    """The settings among the variables; those that are empty or injected by Kubernetes do not count.

    Raises InvalidSettings for a BEAMHOUSE_ variable that is not a setting.
    """
    known = {PREFIX + key.upper(): key for key in keys}
    layer: Layer = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == FILE_VARIABLE or is_injected(name, environ[name]):
            continue
        if name not in known:
            raise InvalidSettings(f"{name} is not a setting{did_you_mean(name, [*known, FILE_VARIABLE])}")
        if environ[name]:
            layer[known[name]] = Given(environ[name], name)
    return layer


def is_injected(name: str, value: str) -> bool:
    """Whether Kubernetes put this variable there, as BEAMHOUSE_PORT=tcp://10.0.0.1:80 for a service `beamhouse`."""
    return bool(INJECTED_NAME.fullmatch(name)) or (name.endswith("_PORT") and bool(INJECTED_VALUE.fullmatch(value)))


def injected(environ: Mapping[str, str]) -> list[str]:
    """Names of the BEAMHOUSE_ variables that do not count because Kubernetes set them."""
    return sorted(name for name in environ if name.startswith(PREFIX) and is_injected(name, environ[name]))


def read_settings_file(path: Path, sections: Mapping[str, Iterable[str]]) -> Layer:
    """The settings of a TOML file with the tables `sections`.

    Raises InvalidSettings if the file cannot be read, or for a table or key that is unknown or out of place.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(f"{path} cannot be read: {error}") from error
    home = {key: section for section, keys in sections.items() for key in keys}
    layer: Layer = {}
    for section, table in tables.items():
        if section not in sections or not isinstance(table, dict):
            raise InvalidSettings(f"{path}: {misplaced(section, home, sections)}")
        for key, value in table.items():
            if home.get(key) != section:
                raise InvalidSettings(f"{path}, [{section}]: {misplaced(key, home, home)}")
            layer[key] = Given(value, str(path))
    return layer


def misplaced(name: str, home: Mapping[str, str], known: Iterable[str]) -> str:
    """Why `name` may not stand where it does in a file."""
    if name in home:
        return f"{name} belongs in the table [{home[name]}]"
    return f"{name} is not a setting{did_you_mean(name, known)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def read_defaults() -> Layer:
    """Every setting, as `default.toml` of this package gives it."""
    tables = tomllib.loads(default_text())
    return {key: Given(value, DEFAULT) for table in tables.values() for key, value in table.items()}


def read_meanings() -> dict[str, str]:
    """The line of meaning beside each key in `default.toml`."""
    return dict(re.findall(r"^(\w+) = .*?  # (.+)$", default_text(), flags=re.MULTILINE))


def default_text() -> str:
    return (files("beamhouse.config") / "default.toml").read_text(encoding="utf-8")


def split_list(value: object) -> object:
    """A list from the text of a variable or an option: JSON, or words between commas."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.startswith("[") else [word.strip() for word in value.split(",") if word.strip()]


def split_pairs(value: object) -> object:
    """A dict from text: JSON, or `name=value` words between commas; or from several texts, as an option gives them.

    A dict from a file arrives as a list of pairs.
    """
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    if isinstance(value, str):
        return {name: file for name, _, file in (word.strip().partition("=") for word in value.split(","))}
    if isinstance(value, list | tuple) and value and all(isinstance(text, str) for text in value):
        given = [split_pairs(text) for text in value]
        return {name: file for pairs in given if isinstance(pairs, dict) for name, file in pairs.items()}
    return dict(value) if isinstance(value, list) else value
