"""`generate()` of transformers 4.x, for the modes that 5.x dropped: a worker process of another interpreter.

The worker runs this module with that interpreter, which needs torch and transformers and nothing else of ours. Each
line of its input is one JSON call, each line of its output the answer; times are taken in the worker.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.cases.answers import Answer
from benchmarks.cases.modes import Request
from benchmarks.library.in_process import InProcess, Library

ROOT = Path(__file__).parents[2]


class WorkerFailed(Exception):
    """The other interpreter did not start, or its process ended."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The library as another interpreter has it. versions: of its packages."""

    versions: dict[str, str]
    process: subprocess.Popen[str]

    def one_by_one(self, requests: Sequence[Request]) -> list[Answer]:
        return self._ask("one_by_one", requests)

    def as_batch(self, requests: Sequence[Request]) -> list[Answer]:
        return self._ask("as_batch", requests)

    def _ask(self, method: str, requests: Sequence[Request]) -> list[Answer]:
        call = {"method": method, "requests": [asdict(request) for request in requests]}
        print(json.dumps(call), file=self.process.stdin, flush=True)
        return [Answer(**answer) for answer in read_line(self.process)]


@contextmanager
def started_worker(python: Path, model: Path, device: str, dtype: str, num_threads: int) -> Iterator[Worker]:
    """A worker with the model loaded; ended with the block. Raises WorkerFailed."""
    # The worker starts elsewhere; links stay, since an environment is known by the path of its interpreter.
    paths = str(python.absolute()), "-m", "benchmarks.library.legacy", str(model.absolute())
    command = [*paths, f"--device={device}", f"--dtype={dtype}", f"--threads={num_threads}"]
    environment = os.environ | {"TRANSFORMERS_VERBOSITY": "error"}
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    except OSError as error:
        raise WorkerFailed(f"{python} cannot be run: {error.strerror}") from error
    with process:
        try:
            versions = read_line(process)
            if not versions["transformers"].startswith("4."):
                raise WorkerFailed(f"{python} has transformers {versions['transformers']}; needed: 4.x, up to 4.55")
            yield Worker(versions, process)
        finally:
            process.terminate()


def read_line(process: subprocess.Popen[str]) -> Any:  # Any: whatever the worker says
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise WorkerFailed(f"the worker of --legacy-python ended with exit status {process.wait()}")
    return json.loads(line)


def load_legacy(path: Path, device: str, dtype: str) -> Any:  # Any: the library types no model
    """4.x neither knows `rope_parameters` nor reads `dtype`, so both are told in its own words."""
    config: Any = AutoConfig.from_pretrained(path)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise SystemExit(f"transformers {transformers.__version__} cannot be told of {rope['rope_type']} positions")
    if "rope_theta" in rope:
        config.rope_theta = rope["rope_theta"]
    model: Any = AutoModelForCausalLM.from_pretrained(path, config=config, torch_dtype=getattr(torch, dtype))
    return model.to(device).eval()


def serve(library: Library, calls: IO[str], answers: IO[str]) -> None:
    """Answer call after call until there are no more."""
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps(versions), file=answers, flush=True)
    for line in calls:
        call = json.loads(line)
        requests = [Request(**request) for request in call["requests"]]
        results = library.as_batch(requests) if call["method"] == "as_batch" else library.one_by_one(requests)
        print(json.dumps([asdict(answer) for answer in results]), file=answers, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.library.legacy", description="The worker of benchmarks.modes.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--device", required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    # What the library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    serve(InProcess(load_legacy(options.model, options.device, options.dtype)), sys.stdin, answers)


if __name__ == "__main__":
    main()
