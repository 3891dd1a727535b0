"""Command line options made from the models they set, so that the two never differ."""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from beamhouse.config.settings import PARTS
from beamhouse.config.sources import read_defaults, read_meanings
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.beamhouse.watermark_detection import DetectRequest
from beamhouse.schemas.generation.config import GenerationConfig

PANELS = {"model": "Model", "engine": "Engine", "server": "Server"}
REQUEST_FIELDS = ("negative_prompt", "assistant_model", "force_words")
OTHER_NAMES = {"model": ("--model-id",), "assistants": ("--assistant",), "watermarks": ("--watermark",)}

Command = TypeVar("Command", bound=Callable[..., None])


def setting_options(*parts: str) -> list[inspect.Parameter]:
    """One option for each settings key of these parts; its help is the line in `default.toml`."""
    meanings, defaults = read_meanings(), read_defaults()
    return [
        option(key, field, f"{meanings[key]} [default: {json.dumps(defaults[key].value)}]", PANELS[part])
        for part in parts
        for key, field in PARTS[part].model_fields.items()
    ]


def generation_options() -> list[inspect.Parameter]:
    """One option for each field of GenerationConfig; its help is the field's description."""
    return [
        option(name, field, field.description or "", "Generation")
        for name, field in GenerationConfig.model_fields.items()
    ]


def request_options() -> list[inspect.Parameter]:
    """One option for each of these fields of a request; its help is the field's description."""
    fields = GenerateRequest.model_fields
    return [option(name, fields[name], fields[name].description or "", "Request") for name in REQUEST_FIELDS]


def request_fields_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What options say beside the configuration. `force_words` is a JSON list, or one word as it stands."""
    fields = {name: value for name, value in options.items() if name in REQUEST_FIELDS}
    words = fields.get("force_words")
    if isinstance(words, str):
        fields["force_words"] = json.loads(words) if is_json_list(words) else [words]
    return fields


def is_json_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False


def detection_options() -> list[inspect.Parameter]:
    """One option for each field of a detection but the texts; its help is the field's description."""
    fields = DetectRequest.model_fields.items()
    return [option(name, field, field.description or "", "Detection") for name, field in fields if name != "inputs"]


def detection_fields_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a detection's fields from the text of its options."""
    fields = DetectRequest.model_fields
    return {name: read_value(fields[name].annotation, value) for name, value in options.items() if name in fields}


def generation_config_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a GenerationConfig from the text of its options; what is not JSON stays text."""
    fields = GenerationConfig.model_fields
    return {name: read_value(fields[name].annotation, value) for name, value in options.items()}


def read_value(annotation: Any, value: Any) -> Any:
    """A field that takes text takes it as it stands, unless it opens like a JSON list, object or string."""
    takes_text = str in members(annotation)
    if not isinstance(value, str) or (takes_text and not value.startswith(("[", "{", '"'))):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def option(name: str, field: FieldInfo, meaning: str, panel: str) -> inspect.Parameter:
    """An option that is None unless it is given. Values stay text: the model that owns the field checks them.

    A table of names is given pair by pair: the option may be repeated.
    """
    flag = f"--{name.replace('_', '-')}"
    kinds = members(field.annotation)
    annotation: Any
    if kinds == [bool]:
        marker = typer.Option(f"{flag}/--no-{flag.removeprefix('--')}", help=meaning, rich_help_panel=panel)
        annotation = Annotated[bool | None, marker]
    elif [get_origin(kind) for kind in kinds] == [dict] and panel in PANELS.values():
        names = (flag, *OTHER_NAMES.get(name, ()))
        marker = typer.Option(*names, help=meaning, rich_help_panel=panel, metavar="NAME=PATH")
        annotation = Annotated[list[str] | None, marker]
    else:
        names = (flag, *OTHER_NAMES.get(name, ()))
        marker = typer.Option(*names, help=meaning, rich_help_panel=panel, metavar=metavar(kinds))
        annotation = Annotated[str | None, marker]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def members(annotation: Any) -> list[Any]:
    """The types of a union without None; Annotated layers are taken off."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for part in get_args(annotation) for member in members(part)]
    return [] if annotation is NoneType else [annotation]


def metavar(kinds: list[Any]) -> str:
    """The word that stands for the value in the help."""
    words = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            words += [str(choice) for choice in get_args(kind)]
        else:
            words.append({int: "INT", float: "FLOAT", bool: "true|false", str: "TEXT"}.get(kind, "JSON"))
    return "|".join(dict.fromkeys(words))


def with_options(parameters: Iterable[inspect.Parameter]) -> Callable[[Command], Command]:
    """Put `parameters` in the place of the `**options` of a command."""

    def decorate(command: Command) -> Command:
        own = inspect.signature(command).parameters.values()
        named = [parameter for parameter in own if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
        signature = inspect.Signature([*named, *parameters])
        command.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads instead of the code
        return command

    return decorate
