"""Decoding on a GPU, in process: each way the engine can run a model, and transformers' own continuous batching.

    python -m benchmarks.gpu MODEL [--rows 1 8 32 64] [--prompt-tokens 128] [--new-tokens 64] [--rounds 3]

Greedy search on prompts of random tokens, without an end token. Sides alternate; printed are medians. Every side holds
the model for itself. "decode" counts the steps in which every row feeds one token, "whole run" everything; "of the
bandwidth" is what reading every weight once a step would take, at the speed of a plain sum, beside what a step took.
"""

import argparse
import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, PreTrainedModel
from transformers import GenerationConfig as LibraryConfig

from beamhouse.config.settings import EngineSettings, Settings
from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.runners.cuda_backend import CudaBackend
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolution import resolve
from benchmarks.cases.prompts import draw_ids
from benchmarks.report.options import positive
from benchmarks.report.tables import markdown, show

BLOCK_SIZE = 256
READ_BYTES = 2 << 30
REPEATS = 7


@dataclass(frozen=True, slots=True)
class Run:
    """whole_s: of all requests. decode_s: of each step in which all rows fed one token."""

    whole_s: float
    decode_s: list[float]


Side = Callable[[list[list[int]], int], Run]
"""Continues prompts by so many tokens each."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description="Decoding on a GPU, in process.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=positive, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--prompt-tokens", type=positive, default=128)
    parser.add_argument("--new-tokens", type=positive, default=64)
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
    model.to(device).eval()
    sides, facts = sides_of(model, max(options.rows), options.prompt_tokens + options.new_tokens)
    read_s = seconds_to_read(sum(weight.nbytes for weight in model.parameters()), device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    show({"device": name, "torch": torch.__version__, "ms to read the weights": f"{1000 * read_s:.2f}", **facts})
    lines = [["rows", "side", "whole run, tokens/s", "decode, tokens/s", "of the bandwidth"]]
    for rows in options.rows:
        draw = random.Random(rows)
        prompts = [draw_ids(draw, options.prompt_tokens, model.config.vocab_size) for _ in range(rows)]
        runs: dict[str, list[Run]] = {name: [] for name in sides}
        for number in range(options.rounds + 1):
            for name, side in sides.items():
                found = side(prompts, options.new_tokens)
                if number:  # the first round warms up
                    runs[name].append(found)
        # The library's is sized for the requests of its first call.
        model.destroy_cached_continuous_batching_manager()
        lines.extend(line(rows, name, found, options.new_tokens, read_s) for name, found in runs.items())
    print(markdown(lines))


def sides_of(model: PreTrainedModel, max_rows: int, length: int) -> tuple[dict[str, Side], dict[str, str]]:
    """All that run on the model's device, and what each of ours says of itself."""
    sides: dict[str, Side] = {}
    facts = {}
    for name, kernels in (("plain torch", "torch"), ("one call a layer", "auto"), ("with graphs", "auto")):
        if model.device.type != "cuda" and kernels != "torch":
            continue
        settings = settings_for(max_rows, length, kernels)
        runner, engine = assemble(copy.deepcopy(model), settings, Extensions(Registry({}, {}), {}))
        # What is not recorded at load never is.
        if isinstance(runner.backend, CudaBackend) and name == "with graphs":
            runner.check()
        sides[name] = partial(run_engine, engine)
        facts[name] = f"{runner.backend.kernels}; {runner.backend.attention}"
    if model.device.type == "cuda":
        sides["transformers, continuous batching"] = partial(run_library, model)
    return sides, facts


def settings_for(max_rows: int, length: int, kernels: str) -> EngineSettings:
    blocks = max_rows * (-(-length // BLOCK_SIZE) + 1)
    asked = {"kernels": kernels, "max_rows": max_rows, "max_waiting": max_rows, "step_tokens": 8192}
    sizes = {"block_size": BLOCK_SIZE, "cache_tokens": blocks * BLOCK_SIZE, "prefix_caching": False}
    return Settings(engine=asked | sizes).engine


def run_engine(engine: Engine, prompts: list[list[int]], num_new: int) -> Run:
    asked = GenerationConfig.from_dict({"max_new_tokens": num_new, "eos_token_id": None, "do_sample": False})
    for number, prompt_ids in enumerate(prompts):
        config = resolve(asked, GenerationConfig(), prompt_len=len(prompt_ids), context_len=1 << 20)
        engine.submit(Submission(str(number), prompt_ids, config))
    started, decode_s = time.perf_counter(), []
    while engine.has_work:
        before = time.perf_counter()
        outputs = engine.step()
        if len(outputs.requests) == len(prompts):
            decode_s.append(time.perf_counter() - before)
    # The first of them may also have fed a prompt.
    return Run(time.perf_counter() - started, decode_s[1:])


def run_library(
    model: Any, prompts: list[list[int]], num_new: int
) -> Run:  # Any: what the library mixes in has no types
    config = LibraryConfig(max_new_tokens=num_new, do_sample=False, eos_token_id=-1)
    # The same prompts come in every round.
    batching = ContinuousBatchingConfig(allow_block_sharing=False)
    started = time.perf_counter()
    model.generate_batch(
        prompts, generation_config=config, continuous_batching_config=batching, persistent_manager=True
    )
    return Run(time.perf_counter() - started, [])


def line(rows: int, name: str, runs: list[Run], num_new: int, read_s: float) -> list[str]:
    whole = f"{rows * num_new / median(run.whole_s for run in runs):.1f}"
    steps_s = [step_s for run in runs for step_s in run.decode_s]
    if not steps_s:
        return [str(rows), name, whole, "", ""]
    step_s = median(steps_s)
    return [str(rows), name, whole, f"{rows / step_s:.1f}", f"{read_s / step_s:.0%}"]


def seconds_to_read(num_bytes: int, device: torch.device) -> float:
    """How long so many bytes take, at the speed of a sum over memory that no cache holds."""
    memory = torch.zeros(READ_BYTES // 4, device=device)
    best_s = min(_timed(memory.sum) for _ in range(REPEATS))
    return best_s * num_bytes / READ_BYTES


def _timed(compute: Callable[[], torch.Tensor]) -> float:
    started = time.perf_counter()
    compute().item()  # waits for the device
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
