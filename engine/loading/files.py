"""Where a model's files lie: the built-in one, a directory, or the hub's cache; safetensors only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tqdm import tqdm

from beamhouse.config.settings import ModelSettings
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.schemas.generation.files import read_json
from beamhouse.schemas.words import Stage

BUILTIN = "builtin"
BUILTIN_FILES = Path(__file__).parent.parent / "builtin" / "model"
BUILTIN_DRAFT = BUILTIN_FILES.parent / "draft"
BESIDE_WEIGHTS = ["*.json", "*.jinja", "*.model", "*.tiktoken", "*.txt"]
"""What is fetched of a hub repository for its tokens: configuration and tokenizer."""

PATTERNS = ["*.safetensors", *BESIDE_WEIGHTS]
"""What is fetched to be served: the weights too, no code and no pickles."""

UNREAD_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf")
"""Weights in other forms than safetensors; reading most of them could run code."""

ReportProgress = Callable[[Stage, float], None]
"""Takes a stage of loading and the share of it that is done."""


def find_model(settings: ModelSettings, progress: ReportProgress) -> Path:
    """The directory that holds the model, fetched first where it is a hub id. Raises ModelUnsupported."""
    path = locate(settings, progress, PATTERNS)
    if not weight_files(path):
        others = unread_weights(path)
        found = f"; {others[0].name} is not read, since loading it could run code" if others else ""
        raise ModelUnsupported(f"{path} holds no weights in safetensors{found}")
    return path


def locate(settings: ModelSettings, progress: ReportProgress, patterns: list[str]) -> Path:
    """The directory that holds the model's configuration, with the files of these patterns. Raises ModelUnsupported."""
    progress(Stage.RESOLVE, 0.0)
    if settings.model == BUILTIN:
        path = BUILTIN_FILES
    elif Path(settings.model).is_dir():
        path = Path(settings.model)
    else:
        path = _fetch(settings, progress, patterns)
    if not (path / "config.json").is_file():
        raise ModelUnsupported(f"{path} holds no config.json")
    try:
        read_json(path / "config.json")
    except OSError as error:
        raise ModelUnsupported(str(error)) from error
    return path


def weight_files(path: Path) -> list[Path]:
    """The weights in a model's directory."""
    return sorted(path.glob("*.safetensors"))


def unread_weights(path: Path) -> list[Path]:
    """Those in a model's directory that are left alone."""
    return sorted(file for pattern in UNREAD_WEIGHTS for file in path.glob(pattern))


def _fetch(settings: ModelSettings, progress: ReportProgress, patterns: list[str]) -> Path:
    told = 0.0
    progress(Stage.DOWNLOAD, told)

    class Bar(tqdm):  # type: ignore[type-arg]  # generic in its type stubs alone
        """Tells the progress of the download instead of drawing it.

        There is one for what arrives, one for what is written and one for whole files, whose totals grow on the way.
        """

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal told
            updated: bool | None = super().update(n)
            if self.total and self.unit == "B":
                told = max(told, min(1.0, self.n / self.total))
                progress(Stage.DOWNLOAD, told)
            return updated

        def close(self) -> None:
            self.disable = True  # the library's own ends a line that was never begun

        def display(self, *args: Any, **kwargs: Any) -> None:  # Any: tqdm's own signature
            return

    try:
        path = snapshot_download(
            settings.model,
            revision=settings.revision,
            cache_dir=settings.cache_dir,
            allow_patterns=patterns,
            tqdm_class=Bar,  # type: ignore[arg-type]  # any bar will do
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        where = f"{settings.model!r} is neither a directory nor a model that could be fetched from the hub"
        raise ModelUnsupported(f"{where}: {str(error).splitlines()[0]}") from error
    return Path(path)
