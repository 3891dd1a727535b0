"""The ways to run a model that are not picked here: plain torch, and that of a GPU with stand-ins for its kernels."""

from functools import cache
from typing import Any

import pytest
from transformers import PreTrainedModel

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.runners.cuda_backend import CudaBackend
from beamhouse.engine.runners.torch_backend import TorchBackend
from tests.gpu_stand_ins import KERNEL, Recorder
from tests.parity import mixed
from tests.parity.models import served
from tests.parity.running import SETTINGS, generate, prompt, run, submission

CASES: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    {"do_sample": True, "top_p": 0.9},
    {"do_sample": True, "top_k": 0, "num_return_sequences": 3},
    {"num_beams": 3, "num_return_sequences": 2},
]
KINDS = ("plain torch", "varlen and graphs")


@cache
def engine_on(kind: str, family: str) -> Engine:
    settings = SETTINGS.model_copy(update={"kernels": "torch"})
    assistants = mixed.assistants() if family == "llama" else {}
    extensions = Extensions(Registry({}, {}), {}, assistants=assistants)
    with pytest.MonkeyPatch.context() as patch:
        if kind == "varlen and graphs":
            patch.setattr("beamhouse.engine.build.pick_backend", on_a_gpu)
            patch.setattr("beamhouse.engine.loading.drafters.pick_backend", on_a_gpu)
        runner, engine = assemble(served(family), settings, extensions)
    runner.check()
    assert isinstance(runner.backend, TorchBackend if kind == "plain torch" else CudaBackend)
    return engine


def on_a_gpu(model: PreTrainedModel, *_: object) -> CudaBackend:
    return CudaBackend(model, KERNEL, Recorder())


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "gpt2", "opt"])
@pytest.mark.parametrize("kind", KINDS)
def test_requests_that_come_and_go_equal_generate(kind: str, family: str) -> None:
    arrivals: dict[int, list[Any]] = {}
    expected = {}
    for number in range(12):
        fields = CASES[number % len(CASES)] | {"max_new_tokens": 4 + number % 9}
        prompt_ids = prompt(300 + number, 1 + (number * 23) % 90, family)
        one = submission(family, prompt_ids, fields, seed=number)
        arrivals.setdefault((number * 5) % 8, []).append(one)
        expected[one.request_id] = generate(family, prompt_ids, fields, number).token_ids
    answers = run(engine_on(kind, family), arrivals)
    assert {name: answer.sequences for name, answer in answers.items()} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_mode_in_one_batch_gives_the_same_tokens(kind: str) -> None:
    expected = mixed.alone()
    names: dict[str, str] = {}
    arrivals: dict[int, list[Any]] = {}
    for number, name in enumerate(mixed.REQUESTS):
        one = mixed.asked(name)
        names[one.request_id] = name
        arrivals.setdefault((number * 5) % 7, []).append(one)
    for request_id, answer in run(engine_on(kind, "llama"), arrivals).items():
        name = names[request_id]
        assert (name, answer.sequences) == (name, expected[name].sequences)
