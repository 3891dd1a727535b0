"""Look for what would go wrong before it does: versions, processor, memory, threads, model files, port, disk."""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from beamhouse.config.settings import Settings
from beamhouse.config.sources import injected
from beamhouse.engine.loading.files import BUILTIN, BUILTIN_FILES, unread_weights, weight_files
from beamhouse.engine.native.compiler import NoKernels, kernels_file, processor_flags
from beamhouse.engine.native.library import open_library
from beamhouse.engine.native.threads import cpu_quota, usable_cores
from beamhouse.server.command.web_server import CannotListen, bind

DISTRIBUTIONS = ("torch", "transformers", "tokenizers", "safetensors", "fastapi", "uvicorn", "llguidance")
OPTIONAL = {"llguidance": "regex, JSON schema and grammar constraints need it: pip install 'beamhouse[grammar]'"}
VECTOR_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "neon", "asimd")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
LOW_DISK_GIB = 5.0


class Outlook(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found. A problem keeps the server from working; a note is worth knowing."""

    subject: str
    verdict: Outlook
    text: str


Look = Callable[[Settings], Iterator[Finding]]


def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order an operator reads them."""
    looks: tuple[Look, ...] = (
        look_at_versions,
        look_at_processor,
        look_at_kernels,
        look_at_threads,
        look_at_memory,
        look_at_device,
        look_at_model,
        look_at_files,
        look_at_port,
        look_at_disk,
        look_at_environment,
    )
    return [finding for look in looks for finding in look(settings)]


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, Outlook.OK, text)


def note(subject: str, text: str) -> Finding:
    return Finding(subject, Outlook.NOTE, text)


def problem(subject: str, text: str) -> Finding:
    return Finding(subject, Outlook.PROBLEM, text)


def look_at_versions(_: Settings) -> Iterator[Finding]:
    yield ok("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in DISTRIBUTIONS:
        try:
            yield ok(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield note(name, f"missing; {OPTIONAL[name]}") if name in OPTIONAL else problem(name, "not installed")


def look_at_processor(_: Settings) -> Iterator[Finding]:
    flags = processor_flags()
    known = [flag for flag in VECTOR_FLAGS if flag in flags]
    if known:
        yield ok("processor", f"{os.cpu_count()} cores with {', '.join(known)}")
    elif flags:
        yield note("processor", f"{os.cpu_count()} cores without AVX2: the model will be slow")
    if flags and not flags & {"avx512_bf16", "amx_bf16"}:
        yield note("bfloat16", "no bfloat16 instructions: on this processor float32 may be the faster dtype")


def look_at_kernels(settings: Settings) -> Iterator[Finding]:
    engine = settings.engine
    if engine.kernels == "torch":
        yield note("kernels", "torch alone, as `kernels` says")
        return
    try:
        variant, file = kernels_file(engine.kernels_dir)
        open_library(file)
    except NoKernels as error:
        finding = problem if engine.kernels == "native" or settings.model.quantize else note
        yield finding("kernels", f"none, torch computes alone, several times slower: {error}")
    else:
        yield ok("kernels", f"{variant.name}, in {file}")


def look_at_threads(settings: Settings) -> Iterator[Finding]:
    wanted, usable, quota = settings.engine.num_threads, usable_cores(), cpu_quota()
    if wanted > usable:
        yield problem("threads", f"num_threads is {wanted}, but this process may use {usable:g} cores")
    else:
        limit = "" if quota is None else f"; the container's quota is {quota:g}"
        yield ok("threads", f"{wanted or 'automatic'}; {usable:g} usable cores{limit}")


def look_at_memory(settings: Settings) -> Iterator[Finding]:
    available = available_memory_gib()
    if available is None:
        return
    directory = model_directory(settings)
    needed = settings.engine.cache_gib if not settings.engine.cache_tokens else 0.0
    needed += sum(file.stat().st_size for file in weight_files(directory)) / 2**30 if directory else 0.0
    text = f"{available:.1f} GiB available, weights and cache take about {needed:.1f} GiB"
    yield ok("memory", text) if needed < available else problem("memory", text)


def available_memory_gib() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = [int(line.split()[1]) / 2**20 for line in lines if line.startswith("MemAvailable")]
    return free[0] if free else None


def look_at_device(settings: Settings) -> Iterator[Finding]:
    has_gpu = NVIDIA_DRIVER.exists()
    wants_gpu = settings.model.device.startswith("cuda")
    if wants_gpu and not has_gpu:
        yield problem("device", f"device is {settings.model.device}, but no NVIDIA driver is loaded")
    elif has_gpu and "+cpu" in installed_torch():
        verdict = problem if wants_gpu else note
        yield verdict("device", f"there is a GPU, but torch {installed_torch()} is a build without CUDA")
    else:
        yield ok("device", f"{settings.model.device}; {'NVIDIA driver loaded' if has_gpu else 'no GPU'}")


def installed_torch() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""


def model_directory(settings: Settings) -> Path | None:
    """Where the model's files are on this machine, if they are."""
    name = settings.model.model
    if name == BUILTIN:
        return BUILTIN_FILES if BUILTIN_FILES.is_dir() else None
    if Path(name).is_dir():
        return Path(name)
    if not is_hub_id(name):
        return None
    cached = try_to_load_from_cache(
        name, "config.json", cache_dir=settings.model.cache_dir, revision=settings.model.revision
    )
    return Path(cached).parent if isinstance(cached, str) else None


def look_at_model(settings: Settings) -> Iterator[Finding]:
    name = settings.model.model
    if name != BUILTIN and not Path(name).is_dir() and not is_hub_id(name):
        yield problem("model", f"{name} is neither a directory nor a model id of the Hub")
        return
    directory = model_directory(settings)
    if directory is None and (name == BUILTIN or constants.HF_HUB_OFFLINE):
        yield problem(
            "model", f"{name} is not on this machine" + ("" if name == BUILTIN else ", and HF_HUB_OFFLINE is set")
        )
    elif directory is None:
        yield note("model", f"{name} will be downloaded from the Hub")
    else:
        yield from look_at_directory(directory)


def is_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) <= 2 and all(part and not part.startswith(".") for part in parts)


def look_at_directory(directory: Path) -> Iterator[Finding]:
    if not os.access(directory / "config.json", os.R_OK):
        yield problem("model", f"{directory} has no readable config.json")
        return
    weights, unread = weight_files(directory), unread_weights(directory)
    unreadable = [file.name for file in weights if not os.access(file, os.R_OK)]
    if not weights:
        other = f"; {unread[0].name} could run code when it is read, convert it" if unread else ""
        yield problem("model", f"{directory} has no *.safetensors{other}")
    elif unreadable:
        yield problem("model", f"{directory / unreadable[0]} is not readable")
    else:
        size = sum(file.stat().st_size for file in weights) / 2**20
        yield ok("model", f"{directory}: {len(weights)} safetensors, {size:.1f} MiB")
    if not (directory / "tokenizer.json").exists():
        yield note("tokenizer", "no tokenizer.json: it is converted while loading, if that is possible")


def look_at_files(settings: Settings) -> Iterator[Finding]:
    for kind, files in (("trie", settings.model.tries), ("watermark", settings.model.watermarks)):
        for name, file in files.items():
            what = f"{kind} {name}"
            yield ok(what, str(file)) if file.is_file() else problem(what, f"{file} is not a file")
    directory = settings.server.stored_configs
    if directory is not None and not directory.is_dir():
        yield problem("stored_configs", f"{directory} is not a directory")


def look_at_port(settings: Settings) -> Iterator[Finding]:
    host, port = settings.server.host, settings.server.port
    try:
        bind(host, port).close()
    except CannotListen as error:
        yield problem("port", str(error))
    else:
        yield ok("port", f"{host} port {port} is free")


def look_at_disk(settings: Settings) -> Iterator[Finding]:
    place = Path(settings.model.cache_dir or constants.HF_HUB_CACHE)
    existing = next(parent for parent in (place, *place.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if model_directory(settings) is None and not os.access(existing, os.W_OK):
        yield problem("disk", f"{existing} is not writable, and the model has to be downloaded")
    else:
        yield (ok if free >= LOW_DISK_GIB else note)("disk", f"{free:.1f} GiB free in {existing}")


def look_at_environment(_: Settings) -> Iterator[Finding]:
    for name in injected(os.environ):
        yield note("environment", f"{name} is not a setting: Kubernetes sets it for a service of that name")
    if platform.system() != "Linux":
        yield note("environment", f"{platform.system()} is not tested; Linux is")
