"""The configuration of one generation, with the methods of the library's class of the same name."""

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, overload

from pydantic import ModelWrapValidatorHandler, PrivateAttr, ValidationError, model_validator

from beamhouse.schemas.generation import files
from beamhouse.schemas.generation.defaults import OURS
from beamhouse.schemas.generation.field_rules import InvalidGenerationConfig, find_problems, find_warnings
from beamhouse.schemas.generation.fields import GenerationFields
from beamhouse.schemas.generation.model_rules import (
    PREFIX,
    check_model,
    id_problems,
    without_foreign_ids,
    without_negative_ids,
)
from beamhouse.schemas.generation.modes import GenerationMode, mode_of
from beamhouse.schemas.generation.resolution import merge
from beamhouse.schemas.problems import Problem
from beamhouse.schemas.pydantic_problems import explain
from beamhouse.schemas.words import ProblemCode


class GenerationConfig(GenerationFields):
    """Every parameter of a generation; a request wins over the model's file, the file over the library's defaults.

    A field outside its range cannot be set. Whether fields go together is known only when request and file are merged,
    so that is asked for: `problems()`, or `validate()`. Equality looks at fields and extra attributes, not at metadata.
    """

    _from_model_config: bool | None = PrivateAttr(default=None)
    _transformers_version: str | None = PrivateAttr(default=None)
    _loaded: str | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _take_origin(cls, content: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Where a file came from is no field, but the content of a library's file can be sent as it is."""
        if not isinstance(content, dict):
            return validate(content)
        origin = {key: value for key, value in content.items() if files.is_origin(key, value)}
        config = validate({key: value for key, value in content.items() if key not in origin})
        return config._with_origin(origin)

    def _with_origin(self, origin: Mapping[str, Any]) -> Self:
        self._from_model_config = origin.get("_from_model_config")
        self._transformers_version = origin.get("transformers_version")
        return self

    def without_origin(self) -> Self:
        """This configuration, forgetting which file and version of the library it came from."""
        return self._with_origin({})

    @property
    def transformers_version(self) -> str | None:
        """The version of the library that wrote the file this was read from."""
        return self._transformers_version

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GenerationConfig):
            return NotImplemented
        return self.to_json_string(ignore_metadata=True) == other.to_json_string(ignore_metadata=True)

    def get_generation_mode(self, assistant_model: object | None = None) -> GenerationMode:
        """The decoding mode these fields ask for. assistant_model: anything but None when a model drafts."""
        return mode_of(self, assistant_model)

    def problems(self, assistant_model: object | None = None, prefix: str = PREFIX) -> list[Problem]:
        """Every combination of these fields that cannot be obeyed; `prefix` goes before the names of the fields."""
        return find_problems(self, assistant_model, prefix)

    def warnings(self, asked: Collection[str] | None = None, assistant_model: object | None = None) -> list[str]:
        """Fields that have no effect beside the others, as sentences. asked: the fields to look at (None: all).

        Unlike the library's, these do not speak of `output_*` without `return_dict_in_generate`: both have an effect.
        """
        told = [] if asked is None else self.origin_warnings()
        return told + find_warnings(self, asked, assistant_model)

    def origin_warnings(self) -> list[str]:
        """That metadata of a file asks for nothing, as sentences."""
        return [f"{name} has no effect: it tells where a configuration came from" for name in self._origin]

    def validate(self) -> None:  # type: ignore[override]  # pydantic's old name for model_validate; the library's wins
        """Raise InvalidGenerationConfig, a ValueError that lists all problems, unless the fields go together."""
        problems = self.problems(prefix="")
        if problems:
            raise InvalidGenerationConfig(problems)

    def update(
        self, defaults_only: bool = False, allow_custom_entries: bool = False, **kwargs: object
    ) -> dict[str, object]:
        """Set the attributes named, and return those there are not. Changes all of them or, with ValueError, none.

        defaults_only: leave alone what is set. allow_custom_entries: keep unknown ones as extra attributes.
        """
        held = self.set_fields() | self.extras
        known = {key for key in kwargs if key in type(self).model_fields or key in self.extras}
        used = known | (set(kwargs) if allow_custom_entries else set())
        changed = {key: kwargs[key] for key in used if not (defaults_only and held.get(key) is not None)}
        updated = self.from_dict(held | changed)
        updated.validate()
        for key in changed.keys() & type(self).model_fields.keys():
            setattr(self, key, getattr(updated, key))
        self.with_extras(updated.extras)
        return {key: value for key, value in kwargs.items() if key not in changed}

    @overload
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: Literal[False] = False, **overrides: object
    ) -> Self: ...

    @overload
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: Literal[True], **overrides: object
    ) -> tuple[Self, dict[str, object]]: ...

    @overload
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: bool, **overrides: object
    ) -> Self | tuple[Self, dict[str, object]]: ...

    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: bool = False, **overrides: object
    ) -> Self | tuple[Self, dict[str, object]]:
        """A configuration from the keys of a file; those that are no fields are kept as extra attributes.

        Overrides replace attributes; the rest of them is returned with `return_unused_kwargs` (which the library only
        promises), and ignored without. Raises InvalidGenerationConfig for values out of range.
        """
        known = {key: value for key, value in overrides.items() if key in cls.model_fields or key in config_dict}
        parts = files.sort_keys({**config_dict, **known}, cls.model_fields)
        try:
            config = cls.model_validate(parts.fields)
        except ValidationError as error:
            found = explain(error.errors(include_url=False), parts.fields, cls)
            raise InvalidGenerationConfig(
                [Problem(str(next(iter(path), "")), code, message) for path, (code, message) in found.items()]
            ) from error
        config._with_origin(parts.metadata).with_extras(parts.extras)
        unused = {key: value for key, value in overrides.items() if key not in known}
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def salvage(
        cls, config_dict: Mapping[str, Any], vocab_size: int | None = None, num_layers: int | None = None
    ) -> tuple[Self, list[Problem]]:
        """What can be used of a model's own file, and a problem for each field of which something is left out.

        What the library would ignore, as a padding id of -1, an end token outside the vocabulary or a field of ours, is
        no reason not to serve the model; nor are fields that do not go together, which would refuse every request.
        vocab_size: leave out ids that are not below it. num_layers: leave out layers the model lacks; None where it is
        not known.
        """
        kept, problems = without_negative_ids(config_dict)
        for field in OURS & kept.keys():
            problems.append(Problem(field, ProblemCode.NOT_SUPPORTED, f"{field} is no field of generate()"))
            del kept[field]
        try:
            config = cls.from_dict(kept)
        except InvalidGenerationConfig as error:
            problems += error.problems
            bad = {problem.field for problem in error.problems}
            config = cls.from_dict({key: value for key, value in kept.items() if key not in bad})
        if vocab_size is not None:
            problems += id_problems(config, vocab_size, prefix="")
            for field, value in without_foreign_ids(config, vocab_size).items():
                setattr(config, field, value)
        while impossible := config._impossible_fields(vocab_size, num_layers):
            problems += impossible
            for problem in impossible:
                setattr(config, problem.field, None)
        return config, problems

    def _impossible_fields(self, vocab_size: int | None, num_layers: int | None) -> list[Problem]:
        """Fields that are set, and that refuse even a request that asks for nothing."""
        alone = merge(type(self)(), self, prompt_len=1, context_len=None)
        found = alone.problems(prefix="")
        if vocab_size is not None:
            of_model = check_model(alone, vocab_size=vocab_size, context_len=None, prompt_len=1, num_layers=num_layers)
            found += [replace(problem, field=problem.field.removeprefix(PREFIX)) for problem in of_model]
        named = [replace(problem, field=problem.field.partition(".")[0]) for problem in found]
        return [problem for problem in named if problem.field in self.set_fields()]

    @classmethod
    def part_of(cls, model_config: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of generation in a model's configuration, as `from_dict` takes them.

        model_config: the content of a `config.json`.
        """
        return {**files.generation_part(model_config, cls.model_fields.keys()), "_from_model_config": True}

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: files.AnyPath,
        config_file_name: files.AnyPath | None = None,
        *,
        return_unused_kwargs: Literal[False] = False,
        **options: Any,
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: files.AnyPath,
        config_file_name: files.AnyPath | None = None,
        *,
        return_unused_kwargs: Literal[True],
        **options: Any,
    ) -> tuple[Self, dict[str, object]]: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: files.AnyPath,
        config_file_name: files.AnyPath | None = None,
        *,
        return_unused_kwargs: bool = False,
        **options: Any,
    ) -> Self | tuple[Self, dict[str, object]]:
        """Read the configuration file of a directory, or of a repository on the hub.

        options: `cache_dir`, `force_download`, `local_files_only`, `token`, `revision` and `subfolder` say where to
        look; all others override what the file says, as in `from_dict`. Raises OSError if there is no readable file.
        """
        source = files.Source(**{name: options.pop(name) for name in files.SOURCE_OPTIONS if name in options})
        path = files.locate(pretrained_model_name, config_file_name or files.FILE_NAME, source)
        config, unused = cls.from_dict(files.read_json(path), return_unused_kwargs=True, **options)
        config._loaded = config.to_json_string(ignore_metadata=True)
        return (config, unused) if return_unused_kwargs else config

    def save_pretrained(self, save_directory: files.AnyPath, config_file_name: files.AnyPath | None = None) -> None:
        """Write a file that the library can load; the directory is made if it is not there.

        `compile_config` is left out: the library writes none and loads none. Raises ValueError if fields do not go
        together or have no effect (a configuration saved as it was loaded may hold such fields), NotADirectoryError if
        the path is a file.
        """
        self.validate()
        idle = self.warnings() if self.to_json_string(ignore_metadata=True) != self._loaded else []
        if idle:
            raise InvalidGenerationConfig([Problem(text.split()[0], ProblemCode.CONFLICT, text) for text in idle])
        if Path(save_directory).is_file():
            raise NotADirectoryError(f"{save_directory} is a file; a directory is needed")
        Path(save_directory).mkdir(parents=True, exist_ok=True)
        content = self.to_diff_dict()
        content.pop("compile_config", None)
        target = Path(save_directory) / (config_file_name or files.FILE_NAME)
        target.write_text(files.to_text(content), encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """All attributes as plain data, unset ones as None."""
        return {**dict.fromkeys((*type(self).model_fields, *files.METADATA)), **self.to_diff_dict()}

    def to_diff_dict(self) -> dict[str, Any]:
        """The attributes that are set, as plain data."""
        return {**self.model_dump(mode="json", exclude_none=True), **copy.deepcopy(self.extras), **self._origin}

    @property
    def _origin(self) -> dict[str, Any]:
        """Where the configuration came from, as far as it is known."""
        origin = {"_from_model_config": self._from_model_config, "transformers_version": self.transformers_version}
        return {key: value for key, value in origin.items() if value is not None}

    def to_json_string(self, use_diff: bool = True, ignore_metadata: bool = False) -> str:
        """The attributes as JSON. use_diff: leave out unset ones; ignore_metadata: leave out where they came from."""
        content = self.to_diff_dict() if use_diff else self.to_dict()
        if ignore_metadata:
            content = {key: value for key, value in content.items() if key not in files.METADATA}
        return files.to_text(content)

    def to_json_file(self, json_file_path: files.AnyPath, use_diff: bool = True) -> None:
        """Write `to_json_string` to a file."""
        Path(json_file_path).write_text(self.to_json_string(use_diff=use_diff), encoding="utf-8")
