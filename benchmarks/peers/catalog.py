"""The servers that are compared: how each is started and asked, with the settings that make them comparable.

Every side gets the same number of threads and room for 1 GiB of keys and values.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.peers.build import FAILED
from benchmarks.peers.formats import Model
from benchmarks.serving.dialects import Completion, Native, TextCompletion
from benchmarks.serving.processes import serve_module
from benchmarks.serving.wire import Dialect

MAX_STREAMS = 32
CACHE_GIB = 1
CACHE_TOKENS = 81_920
"""What 1 GiB holds of the generated model, and what llama.cpp divides among its streams."""

LARGE_WEIGHTS = 100_000_000
QUANTISED_LOADS = ("streams-1", "streams-8", "streams-32", "prefill")
"""What sides with fewer bits are asked: their speed, not their manners."""


class NotInstalled(Exception):
    """A peer is not there, or could not be built."""


@dataclass(frozen=True, slots=True)
class Side:
    """command: `{port}` stands for the port. ready: the path that answers 200. loads: those it is asked, None: all.
    max_rounds: where it is too slow for more. note: what a reader has to know."""

    name: str
    precision: str
    command: list[str]
    dialect: Dialect
    ready: str = "/health"
    environment: dict[str, str] = field(default_factory=dict)
    loads: tuple[str, ...] | None = None
    max_rounds: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the sides are made for. settings: of this server, as its options name them."""

    model: Model
    peers: Path
    threads: int
    settings: dict[str, str]

    @property
    def config(self) -> dict[str, int | str | bool]:
        config: dict[str, int | str | bool] = json.loads((self.model.source / "config.json").read_text())
        return config

    @property
    def precision(self) -> str:
        return {"bfloat16": "bf16", "float32": "f32"}[str(self.config["dtype"])]

    @property
    def is_large(self) -> bool:
        return num_weights(self.config) > LARGE_WEIGHTS


def num_weights(config: dict[str, int | str | bool], with_head: bool = True) -> int:
    """The weights of a Llama that a step reads: all matrices, without the table of embeddings."""
    hidden, inner, heads, key_heads, size, layers, vocab = (int(config[name]) for name in SHAPE)
    layer = hidden * size * (2 * heads + 2 * key_heads) + 3 * hidden * inner
    return layers * layer + (hidden * vocab if with_head else 0)


SHAPE = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "num_hidden_layers",
    "vocab_size",
)


def beamhouse(choice: Choice, name: str = "beamhouse", precision: str = "", **extra: str) -> Side:
    settings = {"model": str(choice.model.source), "num_threads": str(choice.threads), "cache_gib": str(CACHE_GIB)}
    command = [sys.executable, "-m", *serve_module(settings | extra | choice.settings)]
    loads = QUANTISED_LOADS if precision else None
    return Side(name, precision or choice.precision, command, Native(), ready="/health/ready", loads=loads)


def quantised(choice: Choice, form: str) -> Side:
    return beamhouse(choice, f"beamhouse {form}", form, quantize=form)


def llama_cpp(choice: Choice, kind: str = "") -> Side:
    server = installed(choice.peers, "llama.cpp", "build/bin/llama-server")
    model = choice.model.gguf(kind or choice.precision)
    streams = ["--parallel", str(MAX_STREAMS), "--ctx-size", str(CACHE_TOKENS), "--cache-ram", "0"]
    threads = ["--threads", str(choice.threads)]
    command = [str(server), "--model", str(model), "--port", "{port}", *streams, *threads]
    if kind:
        return Side(f"llama.cpp {kind.upper()}", kind, command, Completion(), loads=QUANTISED_LOADS)
    return Side("llama.cpp", choice.precision, command, Completion())


def openvino(choice: Choice) -> Side:
    python = installed(choice.peers, "openvino", "venv/bin/python")
    options = ["--threads", str(choice.threads), "--cache-gib", str(CACHE_GIB), "--precision", choice.precision]
    module = ["-m", "benchmarks.peers.openvino_server", str(choice.model.openvino()), "--port", "{port}"]
    note = "its continuous batching, behind an HTTP server of ours; keys and values in the type it chooses"
    return Side("OpenVINO GenAI", choice.precision, [str(python), *module, *options], Completion(), note=note)


def transformers_serve(choice: Choice) -> Side:
    if not choice.is_large:
        raise NotInstalled("takes prompts as text, which only the generated model has an exact length for")
    program = installed(choice.peers, "transformers", "venv/bin/transformers")
    model = str(choice.model.source)
    cache = ["--continuous-batching", "--cb-block-size", "32", "--cb-num-blocks", str(CACHE_TOKENS // 32)]
    command = [str(program), "serve", model, "--port", "{port}", "--host", "127.0.0.1", "--device", "cpu", *cache]
    tokenizer = Tokenizer.from_file(str(choice.model.source / "tokenizer.json"))
    environment = {"OMP_NUM_THREADS": str(choice.threads), "HF_HUB_OFFLINE": "1"}
    dialect = TextCompletion(tokenizer, model)
    loads = ("streams-1", "streams-8", "prefill")
    return Side("transformers serve", choice.precision, command, dialect, "/health", environment, loads, 1)


def generate(choice: Choice) -> Side:
    module = ["-m", "benchmarks.peers.generate_server", str(choice.model.source), "--port", "{port}"]
    command = [sys.executable, *module, "--threads", str(choice.threads)]
    loads = ("streams-1",) if choice.is_large else None
    note = "one request after another"
    return Side("generate()", choice.precision, command, Completion(), loads=loads, note=note)


def installed(peers: Path, peer: str, file: str) -> Path:
    """Raises NotInstalled with what building it said."""
    failed = peers / peer / FAILED
    if failed.exists():
        raise NotInstalled(failed.read_text().strip())
    if not (peers / peer / file).exists():
        raise NotInstalled("is not installed; `make peers` does it")
    return peers / peer / file


SIDES: dict[str, Callable[[Choice], Side]] = {
    "beamhouse": beamhouse,
    "llama.cpp": llama_cpp,
    "openvino": openvino,
    "transformers-serve": transformers_serve,
    "generate": generate,
    "beamhouse-int8": lambda choice: quantised(choice, "int8"),
    "beamhouse-int4": lambda choice: quantised(choice, "int4"),
    "llama.cpp-q8_0": lambda choice: llama_cpp(choice, "q8_0"),
}
