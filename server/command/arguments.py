"""What several commands are given: a settings file, a model by its argument or its option, texts, JSON as answer."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from beamhouse.config.sources import InvalidSettings

STANDARD_INPUT = "-"
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file (TOML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def given(options: dict[str, Any], model: str | None = None) -> dict[str, Any]:
    """The options that were given; a model may be named by the argument or the option, not by both."""
    chosen = {key: value for key, value in options.items() if value is not None}
    if model is not None and chosen.setdefault("model", model) != model:
        raise InvalidSettings(f"two models are named: {model} and {chosen['model']}")
    return chosen


def read_texts(texts: Sequence[str]) -> list[str]:
    """The texts as they stand; `-` stands for what comes from standard input."""
    return [sys.stdin.read() if text == STANDARD_INPUT else text for text in texts]
