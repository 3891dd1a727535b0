"""Everything an operator can set: one frozen object with a part for the model, the engine and the server.

Defaults and meanings stand in `default.toml`; here are the types and ranges. Every key is unique, so that it has one
name everywhere: `port` in the table [server], `--port`, BEAMHOUSE_PORT.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from beamhouse.config import tgi_variables
from beamhouse.config.sources import (
    FILE_VARIABLE,
    InvalidSettings,
    Layer,
    read_defaults,
    read_environment,
    read_settings_file,
    split_list,
    split_pairs,
)

COMMAND_LINE = "command line"


def unset_if_empty(value: object) -> object:
    return None if value == "" else value


def refuse_empty(value: object) -> object:
    if value == "":
        raise ValueError("expected NAME=FILE")
    return value


def read_object(value: object) -> object:
    """What stands in a text that opens like a JSON object; any other value as it is."""
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


OptionalText = Annotated[str | None, BeforeValidator(unset_if_empty)]
OptionalPath = Annotated[Path | None, BeforeValidator(unset_if_empty)]
Places = Annotated[tuple[Annotated[str, Field(pattern=r"^[\w.]+:\w+$")], ...], BeforeValidator(split_list)]
Name = Annotated[str, Field(min_length=1)]
Files = Annotated[dict[Name, Annotated[Path, BeforeValidator(refuse_empty)]], BeforeValidator(split_pairs)]
Duration = Annotated[float, Field(gt=0, le=86_400)]


class SettingsPart(BaseModel):
    """Settings of one table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GreenList(SettingsPart):
    """A green-list watermark under the key that everybody knows; a secret one is kept in a file of `watermarks`."""

    greenlist_ratio: Annotated[float, Field(gt=0, lt=1)]
    bias: Annotated[float, Field(ge=-1e3, le=1e3)]


class ModelSettings(SettingsPart):
    """Which model, in which form, and what requests may name beside it."""

    model: Name
    revision: OptionalText
    cache_dir: OptionalPath
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    quantize: Annotated[Literal["int8", "int4"] | None, BeforeValidator(unset_if_empty)]
    served_name: OptionalText
    tool_format: Literal[
        "auto", "none", "harmony", "gemma4", "function_gemma", "mistral_named", "mistral", "qwen_coder", "hermes",
        "llama3", "tool_code", "plain",
    ]  # fmt: skip
    reasoning_format: Literal["auto", "none", "think", "mistral", "harmony", "gemma4"]
    assistants: Files
    tries: Files
    watermarks: Files
    default_watermark: OptionalText
    require_watermark: bool
    logits_processors: Places
    stopping_criteria: Places

    @property
    def name(self) -> str:
        """What answers call the model."""
        return self.served_name or self.model


class EngineSettings(SettingsPart):
    """Sizes of the engine: threads, rows, tokens of a step, cache."""

    num_threads: Annotated[int, Field(ge=0, le=1024)]
    kernels: Literal["auto", "native", "torch"]
    kernels_dir: OptionalPath
    max_rows: Annotated[int, Field(ge=1, le=4096)]
    max_beams: Annotated[int, Field(ge=1, le=1024)]
    step_tokens: Annotated[int, Field(ge=1, le=1_048_576)]
    max_stretch: Annotated[float, Field(ge=1, le=1_000_000)]
    block_size: Annotated[int, Field(ge=1, le=1024)]
    cache_tokens: Annotated[int, Field(ge=0)]
    cache_gib: Annotated[float, Field(gt=0, le=65_536)]
    prefix_caching: bool
    max_waiting: Annotated[int, Field(ge=0, le=1_000_000)]
    stall_s: Duration
    hang_s: Duration

    @property
    def most_step_tokens(self) -> int:
        """Tokens in one step: `step_tokens`, but a token for each row at least."""
        return max(self.step_tokens, self.max_rows)


class ServerSettings(SettingsPart):
    """Where the server listens, and what a client may ask of it."""

    host: Name
    port: Annotated[int, Field(ge=0, le=65_535)]
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)]
    max_requests: Annotated[int, Field(ge=1, le=1_000_000)]
    max_body_bytes: Annotated[int, Field(ge=1024, le=2**31)]
    max_prompts: Annotated[int, Field(ge=1, le=65_536)]
    max_sequences: Annotated[int, Field(ge=0, le=4096)]
    max_stop_strings: Annotated[int, Field(ge=0, le=64)]
    max_top_tokens: Annotated[int, Field(ge=0, le=100)]
    max_prompt_tokens: Annotated[int, Field(ge=0)]
    max_total_tokens: Annotated[int, Field(ge=0)]
    max_prompt_bytes: Annotated[int, Field(ge=1, le=2**31)]
    max_tensor_bytes: Annotated[int, Field(ge=0, le=2**40)]
    max_answer_bytes: Annotated[int, Field(ge=1024, le=2**40)]
    max_build_items: Annotated[int, Field(ge=1, le=2**31)]
    max_step_ms: Annotated[int, Field(ge=1, le=3_600_000)]
    head_timeout_s: Duration
    strict_model_name: bool
    control_tokens_in_messages: bool
    body_timeout_s: Duration
    ping_s: Duration
    write_timeout_s: Duration
    keep_alive_s: Duration
    shutdown_s: Duration
    stored_configs: OptionalPath
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["auto", "text", "json"]
    tgi_watermark: Annotated[GreenList | OptionalText, BeforeValidator(read_object)]
    tgi_compat: bool

    @property
    def logs_json(self) -> bool:
        """Whether logs are for machines: as asked, or where nobody sits before them."""
        return self.log_format == "json" or (self.log_format == "auto" and not sys.stderr.isatty())


PARTS: dict[str, type[SettingsPart]] = {"model": ModelSettings, "engine": EngineSettings, "server": ServerSettings}
KEYS: dict[str, str] = {key: part for part, kind in PARTS.items() for key in kind.model_fields}
"""The part that each key belongs to."""


class Settings(BaseSettings):
    """All settings in force. `Settings()` reads the environment, the file it names, and the defaults.

    What is passed wins over all of them, key by key: `Settings(server={"port": 0})`. origins: by key, the place that
    decided its value. without_effect: variables of TGI's that are set and change nothing here. Raises
    ValidationError or InvalidSettings; `load` turns both into one readable InvalidSettings.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    model: ModelSettings
    engine: EngineSettings
    server: ServerSettings
    config_file: Path | None = None
    origins: dict[str, str] = Field(default_factory=dict)
    without_effect: list[str] = Field(default_factory=list)

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, BelowCommandLine(settings_cls))


class BelowCommandLine(PydanticBaseSettingsSource):
    """The environment over the file over the defaults, and the place each key came from."""

    def __call__(self) -> dict[str, Any]:
        passed = self.current_state
        file = find_file(passed.get("config_file"))
        values: dict[str, Any] = {part: {} for part in PARTS}
        origins = {}
        is_tgi = is_tgi_compatible(passed.get("server", {}), file)
        for layer in reversed(read_layers(file, is_tgi)):
            for key, given in layer.items():
                # A dict would be merged with what is passed; as pairs it is replaced, like every other value.
                value = list(given.value.items()) if isinstance(given.value, dict) else given.value
                values[KEYS[key]][key] = value
                origins[key] = given.where
        origins |= {key: COMMAND_LINE for part in PARTS for key in dict(passed.get(part, {}))}
        idle = tgi_variables.without_effect(os.environ) if is_tgi else []
        return {**values, "config_file": file, "origins": origins, "without_effect": idle}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value = self()[field_name]
        return value, field_name, False


def find_file(passed: Path | str | None) -> Path | None:
    """The settings file: the one that was passed, or the one the environment names."""
    name = passed or os.environ.get(FILE_VARIABLE)
    return Path(name) if name else None


def read_layers(file: Path | None, is_tgi: bool) -> list[Layer]:
    """What each source gives, the strongest first. is_tgi: whether the variables of TGI's launcher are one."""
    sections = {part: list(kind.model_fields) for part, kind in PARTS.items()}
    return [
        read_environment(os.environ, KEYS),
        tgi_variables.read_environment(os.environ) if is_tgi else {},
        read_settings_file(file, sections) if file else {},
        read_defaults(),
    ]


def is_tgi_compatible(passed: Mapping[str, Any], file: Path | None) -> bool:
    """Whether `tgi_compat` is on, which says where to look for all other settings. passed: of the server's part."""
    given = [passed, *({key: one.value for key, one in layer.items()} for layer in read_layers(file, is_tgi=False))]
    value = next(values["tgi_compat"] for values in given if "tgi_compat" in values)
    return TypeAdapter(bool).validate_python(value)


def load(options: Mapping[str, Any], config_file: Path | None = None) -> Settings:
    """Settings with `options`, by key, over all other sources.

    Raises InvalidSettings with a line for each value that cannot be, saying where it came from.
    """
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for key, value in options.items():
        parts[KEYS[key]][key] = value
    try:
        return Settings(config_file=find_file(config_file), **parts)
    except ValidationError as error:
        if error.title != Settings.__name__:
            raise InvalidSettings(f"tgi_compat: {error.errors()[0]['msg'].lower()}") from error
        file = find_file(config_file)
        layers = read_layers(file, is_tgi_compatible(parts["server"], file))
        raise InvalidSettings(
            "\n".join(explain_setting(problem, options, layers) for problem in error.errors())
        ) from error


def explain_setting(problem: Mapping[str, Any], options: Mapping[str, Any], layers: list[Layer]) -> str:
    """One line about one wrong value: `port is 99999 (BEAMHOUSE_PORT): input should be …`."""
    key = str(problem["loc"][1])
    where = COMMAND_LINE if key in options else next(layer[key].where for layer in layers if key in layer)
    message = str(problem["msg"])
    return f"{key} is {problem['input']!r} ({where}): {message[0].lower()}{message[1:]}"


def sources(settings: Settings) -> dict[str, tuple[Any, str]]:
    """Every key with its value and the place that decided it: the command line, a variable, a file, or `default`."""
    return {key: (getattr(getattr(settings, part), key), settings.origins[key]) for key, part in KEYS.items()}
