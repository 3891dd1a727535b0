"""The library's side of a round: `model.generate()`, one request after another or all as one batch."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import AutoModelForCausalLM

from benchmarks.cases.answers import Answer
from benchmarks.cases.modes import Request

DRAFT_FIELDS = ("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold")
"""What `generate()` reads of the draft model's own configuration, and ignores among its arguments."""


class Library(Protocol):
    """`generate()` of one version; the answers of a round in the order of its requests."""

    def one_by_one(self, requests: Sequence[Request]) -> list[Answer]: ...

    def as_batch(self, requests: Sequence[Request]) -> list[Answer]:
        """One call for all, with the configuration and the seed of the first."""


@dataclass(frozen=True, slots=True)
class InProcess:
    """`generate()` of the version that this process imports."""

    model: Any  # Any: the library types no model
    draft: Any = None

    def one_by_one(self, requests: Sequence[Request]) -> list[Answer]:
        start = time.perf_counter()
        return [answer for request in requests for answer in self._generate([request], start)]

    def as_batch(self, requests: Sequence[Request]) -> list[Answer]:
        return self._generate(requests, time.perf_counter())

    def _generate(self, requests: Sequence[Request], start: float) -> list[Answer]:
        first = requests[0]
        options = {name: value for name, value in first.config.items() if name not in DRAFT_FIELDS}
        if first.negative_prompt is not None:
            options["negative_prompt_ids"] = torch.tensor([r.negative_prompt for r in requests])  # (R, L)
        if first.has_draft:
            options["assistant_model"] = self.draft
            self.draft.generation_config.update(**{name: first.config[name] for name in DRAFT_FIELDS})
        torch.manual_seed(first.seed)
        rows = continue_prompts(self.model, [request.prompt for request in requests], options)
        end = time.perf_counter() - start
        return [Answer(row, [end] * len(row)) for row in rows]


def load_model(path: Path, dtype: str, device: str, num_threads: int) -> Any:  # Any: the library types no model
    """num_threads: 0 leaves torch's own choice."""
    if num_threads:
        torch.set_num_threads(num_threads)
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    return model.to(device).eval()


def continue_prompts(model: Any, prompts: list[list[int]], options: dict[str, Any]) -> list[list[int]]:
    """The new tokens of each prompt; the prompts are equally long."""
    inputs = torch.tensor(prompts, device=model.device)  # (R, L)
    output: torch.Tensor = model.generate(inputs, attention_mask=torch.ones_like(inputs), **options)
    new: list[list[int]] = output[:, inputs.shape[1] :].tolist()
    return new


def write_text(model: Any, seed: int, num_tokens: int) -> list[int]:
    """Tokens that the model draws itself, from its start token on: a text that a draft model can follow."""
    first = model.generation_config.bos_token_id
    start = [first] if first is not None else [0]
    torch.manual_seed(seed)
    num_new = num_tokens - len(start)
    options = {"do_sample": True, "max_new_tokens": num_new, "min_new_tokens": num_new}
    return start + continue_prompts(model, [start], options)[0]


@torch.inference_mode()
def unlikely_token(model: Any, prompts: list[list[int]]) -> int:
    """The token whose greatest probability anywhere in these prompts is the least."""
    logits: torch.Tensor = model(torch.tensor(prompts, device=model.device)).logits.float()  # (R, L, V)
    return int(logits.log_softmax(-1).amax((0, 1)).argmin())
