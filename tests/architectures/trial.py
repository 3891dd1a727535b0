"""Serves one tiny random model, and holds what it answers against `generate()`."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers import GenerationConfig as LibraryConfig

from beamhouse.config.settings import EngineSettings, load
from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.errors import ModelUnsupported
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.loading.model import load_model
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolution import resolve
from tests.architectures.configs import class_of, config_of
from tests.parity.running import SETTINGS, run

NUM_NEW = 8
TOKENS = [(7 * i * i + 13 * i + 5) % 140 + 5 for i in range(140)]
PROMPTS = [TOKENS[:5], TOKENS[3:44], TOKENS[:110]]
"""Short, past the windows, and longer than a step takes."""
LATER = [[*TOKENS[:70], 9, 8, 7], TOKENS[:40]]
"""Two that begin with what is cached by then."""
MOST_PARAMETERS = 30_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """served, two_bytes: by what, in float32 and bfloat16. reason: why not. wrong: what differs from `generate()`."""

    name: str
    kind: str
    served: str = ""
    reason: str = ""
    wrong: str = ""
    two_bytes: str = ""
    is_built: bool = True


def outcome_of(name: str, *, two_bytes: bool = True) -> Outcome:
    """Build, load, serve and compare. two_bytes: whether the model also loads in bfloat16."""
    kind = class_of(name)
    try:
        model = random_model(name)
    except Exception as error:
        return Outcome(name, kind, reason=_line(error), is_built=False)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        try:
            runner, engine = served(Path(folder), "float32")
        except ModelUnsupported as error:
            return Outcome(name, kind, reason=_line(error).replace(folder, "its directory"))
        except Exception as error:
            return Outcome(name, kind, wrong=f"loading raised {type(error).__name__}: {_line(error)}")
        reference = load_model(
            Path(folder), load({"model": folder, "dtype": "float32", "device": "cpu"}).model, _ignore
        )
        wrong = "; ".join(differences(engine, reference))
        half = ""
        if two_bytes:
            try:
                half = served(Path(folder), "bfloat16")[0].backend.kernels
            except ModelUnsupported as error:
                half = f"refused: {_line(error)}"
    return Outcome(name, kind, served=runner.backend.kernels, wrong=wrong, two_bytes=half)


def random_model(name: str) -> PreTrainedModel:
    """Its weights are so far apart that the last bits decide nothing."""
    torch.manual_seed(0)
    config = config_of(name)
    with torch.device("meta"):
        sketch = AutoModelForCausalLM.from_config(config)
    if sketch.num_parameters() > MOST_PARAMETERS:
        raise ValueError(f"{sketch.num_parameters():,} weights remain")
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 1.3 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    return model


def served(path: Path, dtype: str) -> tuple[PackedRunner, Engine]:
    """As `build` does it, without a tokenizer. Raises ModelUnsupported."""
    model = load_model(path, load({"model": str(path), "dtype": dtype, "device": "cpu"}).model, _ignore)
    settings = EngineSettings(**(SETTINGS.model_dump() | {"step_tokens": 48, "max_rows": 8, "cache_tokens": 2048}))
    runner, engine = assemble(model, settings, Extensions(Registry({}, {}), {}))
    runner.check()
    return runner, engine


def differences(engine: Engine, reference: PreTrainedModel) -> list[str]:
    """Of requests in company, in parts, and of two that find their beginnings in the cache."""
    found = []
    for what, prompts in (("in company", PROMPTS), ("from the cache", LATER)):
        asked = [_submission(f"{what} {number}", prompt) for number, prompt in enumerate(prompts)]
        answers = run(engine, {2 * number: [one] for number, one in enumerate(asked)})
        for one, prompt in zip(asked, prompts, strict=True):
            answer = answers[one.request_id]
            assert answer.finished is not None
            if answer.finished.error:
                found.append(f"{what}, {len(prompt)} tokens: {answer.finished.error}")
            elif answer.sequences != [generated(reference, prompt)]:
                found.append(f"{what}, {len(prompt)} tokens: other tokens")
    return found


def generated(model: Any, prompt_ids: list[int]) -> list[int]:  # Any: the library declares no class that generates
    """The library's own answer."""
    asked = LibraryConfig(max_new_tokens=NUM_NEW, do_sample=False, eos_token_id=2, pad_token_id=0)
    with torch.inference_mode():
        row = model.generate(torch.tensor([prompt_ids]), generation_config=asked)[0, len(prompt_ids) :].tolist()
    return row[: row.index(2) + 1] if 2 in row else row


def _submission(name: str, prompt_ids: list[int]) -> Submission:
    asked = GenerationConfig.from_dict({"max_new_tokens": NUM_NEW, "eos_token_id": 2, "pad_token_id": 0})
    config = resolve(asked, GenerationConfig(), prompt_len=len(prompt_ids), context_len=None)
    return Submission(name, prompt_ids, config)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _ignore(_stage: str, _share: float) -> None:
    """Takes the progress of loading."""
