"""The library's side of a round: `model.generate()`, one request after another."""

import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.generation.streamers import BaseStreamer

from benchmarks.measures import Answer, Workload


class Clock(BaseStreamer):
    """Notes every token and when it came; the first call brings the prompt."""

    def __init__(self, start: float) -> None:
        self._start = start
        self._is_prompt = True
        self.answer = Answer([], [])

    def put(self, value: torch.Tensor) -> None:
        if self._is_prompt:
            self._is_prompt = False
            return
        self.answer.token_ids.extend(value.tolist())
        self.answer.arrived_s.append(time.perf_counter() - self._start)

    def end(self) -> None:
        """Nothing is left to note."""


def load_model(path: Path, dtype: str, device: str, num_threads: int) -> Any:  # Any: the library types no model
    """num_threads: 0 leaves torch's own choice."""
    if num_threads:
        torch.set_num_threads(num_threads)
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    return model.to(device).eval()


def generate_round(model: Any, workload: Workload) -> list[Answer]:
    """All prompts are there at the start; each waits for those before it."""
    start = time.perf_counter()
    return [_generate(model, prompt, workload.num_new, start) for prompt in workload.prompts]


def _generate(model: Any, prompt: list[int], num_new: int, start: float) -> Answer:
    clock = Clock(start)
    inputs = torch.tensor([prompt], device=model.device)  # (1, L)
    options: dict[str, Any] = {"do_sample": False, "max_new_tokens": num_new, "min_new_tokens": num_new}
    model.generate(inputs, attention_mask=torch.ones_like(inputs), streamer=clock, **options)
    return clock.answer
