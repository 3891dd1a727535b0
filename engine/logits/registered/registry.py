"""The logits processors and stopping criteria an operator allows requests to name."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from torch import Tensor

from beamhouse.engine.link.errors import invalid
from beamhouse.engine.link.messages import Named
from beamhouse.engine.logits.registered.builtin_processors import BlockCharacters, ForcePrefix, TokenCharacters
from beamhouse.engine.state.request import Request
from beamhouse.schemas.words import ProblemCode

PROCESSOR_GROUP = "beamhouse.logits_processors"
CRITERION_GROUP = "beamhouse.stopping_criteria"
LogitsProcessor = Callable[[Tensor, Tensor], object]
Criterion = Callable[[Tensor, None], object]
BUILTIN_PROCESSORS: Mapping[str, type] = {"block_characters": BlockCharacters, "force_prefix": ForcePrefix}


@dataclass(frozen=True, slots=True)
class Registry:
    """Classes by name. An instance is made for each request, from the JSON arguments the request gives.

    Both kinds are called as in transformers, with one row: `(input_ids (1, L), scores (1, V))`; criteria get None for
    scores. A class that names one of these keyword-only parameters is given it: `vocab_size`, `prompt_len`,
    `eos_token_ids`, `token_bytes` (what each token stands for, or None without a tokenizer), `token_characters` (the
    same as `TokenCharacters`); requests cannot.
    State an instance keeps must follow from what it is called with: the rows of a request may fork.
    """

    logits_processors: Mapping[str, type]
    stopping_criteria: Mapping[str, type]
    token_bytes: Seq[bytes] | None = None
    token_characters: TokenCharacters | None = field(init=False)

    def __post_init__(self) -> None:
        characters = None if self.token_bytes is None else TokenCharacters.of(self.token_bytes)
        object.__setattr__(self, "token_characters", characters)

    @classmethod
    def load(
        cls, processors: Iterable[str] = (), criteria: Iterable[str] = (), token_bytes: Seq[bytes] | None = None
    ) -> "Registry":
        """Our own, those of installed packages, then the given ones: `module:Class` or `name=module:Class`.

        Raises ValueError for what cannot be loaded or called, and for a name given twice.
        """
        return cls(
            _collect(PROCESSOR_GROUP, processors, BUILTIN_PROCESSORS),
            _collect(CRITERION_GROUP, criteria, {}),
            token_bytes,
        )

    def build_processors(self, request: Request, vocab_size: int) -> list[tuple[str, LogitsProcessor]]:
        """Raises InvalidRequest naming `logits_processor`."""
        return self._build("logits_processor", self.logits_processors, request, vocab_size)

    def build_criteria(self, request: Request) -> list[tuple[str, Criterion]]:
        """Raises InvalidRequest naming `stopping_criteria`."""
        return self._build("stopping_criteria", self.stopping_criteria, request, None)

    def _build(
        self, field: str, known: Mapping[str, type], request: Request, vocab_size: int | None
    ) -> list[tuple[str, Any]]:
        given = {
            "vocab_size": vocab_size,
            "prompt_len": request.num_prompt,
            "eos_token_ids": request.config.eos_token_ids,
            "token_bytes": self.token_bytes,
            "token_characters": self.token_characters,
        }
        named: Seq[Named] = getattr(request.submission, field)
        return [(one.name, _instance(field, one, known[one.name], given)) for one in named]


def _instance(field: str, named: Named, kind: type, given: Mapping[str, Any]) -> Any:
    wanted = {name: given[name] for name in given if name in _keyword_only(kind)}
    clash = [name for name in named.args if name in wanted]
    if clash:
        raise invalid(field, ProblemCode.NOT_ALLOWED, f"{named.name}: {clash[0]} is given by the server")
    try:
        return kind(**named.args, **wanted)
    except Exception as error:  # whatever foreign code raises on bad arguments, the request is at fault
        raise invalid(
            field, ProblemCode.BAD_ARGUMENTS, f"{named.name}: {type(error).__name__}: {str(error)[:300]}"
        ) from error


def _keyword_only(kind: type) -> set[str]:
    parameters = inspect.signature(kind).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY}


def _collect(group: str, given: Iterable[str], builtin: Mapping[str, type]) -> dict[str, type]:
    found = dict(builtin)
    for point in entry_points(group=group):
        _add(found, point.name, point.load())
    for text in given:
        name, _, path = text.rpartition("=")
        kind = _import(path)
        _add(found, name or kind.__name__, kind)
    return found


def _import(path: str) -> type:
    module, colon, attribute = path.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"{path!r} does not have the form module:Class")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path!r} cannot be imported: {error}") from error
    if not isinstance(kind, type):
        raise ValueError(f"{path!r} is not a class")
    return kind


def _add(found: dict[str, type], name: str, kind: type) -> None:
    if name in found:
        raise ValueError(f"the name {name!r} is registered twice")
    required = [
        parameter.name
        for parameter in list(inspect.signature(kind.__call__).parameters.values())[3:]
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    ]
    if required:
        raise ValueError(f"{name!r} wants more than tokens and scores: {', '.join(required)}")
    found[name] = kind
