"""Loads the draft models that requests may name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from beamhouse.config.settings import ModelSettings
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.loading.defaults import read_generation_defaults
from beamhouse.engine.loading.files import BUILTIN, BUILTIN_DRAFT, ReportProgress, find_model
from beamhouse.engine.loading.model import load_model
from beamhouse.engine.loading.tokenizer import load_tokenizer
from beamhouse.schemas.generation.field_rules import MODEL_DRAFT_FIELDS


@dataclass(frozen=True, slots=True)
class Assistant:
    """A draft model. defaults: the drafting fields that its own files set."""

    model: PreTrainedModel
    tokenizer_json: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)  # Any: values of GenerationConfig fields


def load_assistants(settings: ModelSettings, work: Path, progress: ReportProgress) -> dict[str, Assistant]:
    """All of them by name; the built-in model has its own, `draft`. Raises ModelUnsupported naming the one at fault."""
    places = {name: str(path) for name, path in settings.assistants.items()}
    if settings.model == BUILTIN:
        places = {"draft": str(BUILTIN_DRAFT)} | places
    found = {}
    for name, place in places.items():
        try:
            found[name] = _load(settings.model_copy(update={"model": place, "revision": None}), work, progress)
        except ModelUnsupported as error:
            raise ModelUnsupported(f"the draft model {name!r}: {error}") from error
    return found


def _load(settings: ModelSettings, work: Path, progress: ReportProgress) -> Assistant:
    path = find_model(settings, progress)
    directory = work / "assistant"
    directory.mkdir(exist_ok=True)
    tokenizer = load_tokenizer(path, directory)
    content = None if tokenizer.file is None else Path(tokenizer.file).read_text(encoding="utf-8")
    model = load_model(path, settings, progress)
    drafting = read_generation_defaults(path, model.config).set_fields()
    return Assistant(model, content, {name: drafting[name] for name in MODEL_DRAFT_FIELDS if name in drafting})
