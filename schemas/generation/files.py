"""Reads and writes the library's `generation_config.json`: finds the file, and sorts its keys."""

import copy
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

FILE_NAME = "generation_config.json"
METADATA = ("_from_model_config", "transformers_version")
# Bookkeeping of the library that means nothing outside the process that wrote it.
FORGOTTEN = ("_commit_hash", "_original_object_hash", "_mask_length")
ARGUMENTS_OF_GENERATE = (
    "logits_processor",
    "stopping_criteria",
    "prefix_allowed_tokens_fn",
    "synced_gpus",
    "assistant_model",
    "streamer",
    "negative_prompt_ids",
    "negative_prompt_attention_mask",
)
OUTPUT_FLAGS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
TEXT_PARTS = ("decoder", "generator", "text_config")
# Fields of 4.x that 5.x no longer looks for in a model's configuration.
FORMER_FIELDS = ("forced_decoder_ids", "return_legacy_cache", "generation_kwargs")

VERSION = re.compile(r"[0-9]+(\.[0-9A-Za-z+-]+){0,7}")

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Source:
    """Where on the hub, and how, a file is fetched; the names are those of `hf_hub_download`."""

    cache_dir: AnyPath | None = None
    force_download: bool = False
    local_files_only: bool = False
    token: str | bool | None = None
    revision: str = "main"
    subfolder: str = ""


SOURCE_OPTIONS = tuple(field.name for field in fields(Source))


@dataclass(frozen=True, slots=True)
class FileParts:
    """The keys of a configuration file, sorted: fields of generation, metadata, and all others."""

    fields: dict[str, Any]
    metadata: dict[str, Any]
    extras: dict[str, Any]


def locate(name: AnyPath, file_name: AnyPath, source: Source) -> Path:
    """The file in a directory of that name, else in the hub repository of that id. Raises OSError if there is none."""
    directory = Path(name) / source.subfolder
    if Path(name).is_dir():
        if not (directory / file_name).is_file():
            raise FileNotFoundError(f"{directory} has no file {file_name}")
        return directory / file_name
    return _download(str(name), str(file_name), source)


def _download(name: str, file_name: str, source: Source) -> Path:
    # Imported here alone: whoever only checks requests needs no client of the hub.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        path = hf_hub_download(
            name,
            file_name,
            subfolder=source.subfolder or None,
            revision=source.revision,
            cache_dir=None if source.cache_dir is None else str(source.cache_dir),
            force_download=source.force_download,
            local_files_only=source.local_files_only,
            token=source.token,
        )
    except HFValidationError as error:
        raise OSError(f"{name} is neither a directory nor a repository id") from error
    except OSError as error:
        raise OSError(f"{file_name} of {name} cannot be read from the hub: {error}") from error
    return Path(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises OSError if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise OSError(f"{path} is not valid JSON") from error
    if not isinstance(content, dict):
        raise OSError(f"{path} holds no JSON object")
    return content


def sort_keys(config: Mapping[str, Any], names: Collection[str]) -> FileParts:
    """Sorts the keys of a configuration. Raises ValueError for arguments that belong to `generate()` itself."""
    misplaced = [key for key in ARGUMENTS_OF_GENERATE if key in config]
    if misplaced:
        raise ValueError(f"{', '.join(misplaced)}: arguments of generate(), not of its configuration")
    return FileParts(
        fields={key: to_plain(value) for key, value in config.items() if key in names},
        metadata={key: value for key, value in config.items() if key in METADATA},
        extras={
            key: copy.deepcopy(value)
            for key, value in config.items()
            if key not in names and key not in METADATA and key not in FORGOTTEN
        },
    )


def is_origin(key: str, value: Any) -> bool:
    """Whether this is metadata of a file with a value that the library may have written there."""
    if key == "transformers_version":
        return value is None or (isinstance(value, str) and VERSION.fullmatch(value) is not None)
    return key == "_from_model_config" and (value is None or isinstance(value, bool))


def to_plain(value: Any) -> Any:
    """A library object, as a watermark's options, as the dict that it is in a file; other values as they are."""
    return value.to_dict() if hasattr(value, "to_dict") else value


def generation_part(model_config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The fields of generation in the content of a `config.json`; its text part fills gaps.

    As the library does, asking for any output turns `return_dict_in_generate` on. `task_specific_params` are read by
    nobody.
    """
    names = set(names) - set(FORMER_FIELDS)
    found = {key: value for key, value in model_config.items() if key in names and value is not None}
    if model_config.get("force_bos_token_to_be_generated") and "bos_token_id" in found:
        found["forced_bos_token_id"] = found["bos_token_id"]
    part: Any = next((model_config[name] for name in TEXT_PARTS if model_config.get(name)), {})
    text = part if isinstance(part, dict) else {}
    found = {key: value for key, value in text.items() if key in names and value is not None} | found
    if any(found.get(flag) for flag in OUTPUT_FLAGS):
        found["return_dict_in_generate"] = True
    return found


def to_text(content: Mapping[str, Any]) -> str:
    """JSON as the library writes it: indented, keys sorted, a final newline."""
    return json.dumps(_with_text_keys(content), indent=2, sort_keys=True) + "\n"


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text_keys(inner) for inner in value]
    return value
