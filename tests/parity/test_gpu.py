"""The same answers on a GPU: run with `pytest -m gpu` where there is one."""

import warnings
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch.nn.attention.varlen import varlen_attn
from transformers import GenerationConfig as LibraryConfig
from transformers import PreTrainedModel

from beamhouse.config.settings import EngineSettings
from beamhouse.engine.attention.varlen import VarlenKernel
from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from beamhouse.engine.runners.cuda_backend import CudaBackend
from beamhouse.engine.runners.cuda_graphs import BUCKETS, CudaRecorder
from beamhouse.engine.runners.cuda_pick import try_kernel
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.runners.torch_backend import TorchBackend
from beamhouse.engine.state.batch import Batch, Feed
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Sequence
from tests.engine.runners.mixed_steps import mixed_steps
from tests.parity import mixed
from tests.parity.models import served
from tests.parity.running import SETTINGS, run, submission

pytestmark = pytest.mark.gpu

BLOCK = 256
"""What FlashAttention 2 asks of a paged cache."""
FAST = SETTINGS.model_copy(update={"block_size": BLOCK})

CASES: list[dict[str, Any]] = [
    {"max_new_tokens": 20},
    {"max_new_tokens": 20, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 20, "do_sample": True, "top_p": 0.9},
    {"max_new_tokens": 20, "do_sample": True, "top_k": 0, "num_return_sequences": 3},
    {"max_new_tokens": 20, "num_beams": 4, "num_return_sequences": 2},
]


def on_gpu(family: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    return served(family).to(dtype).to("cuda")  # type: ignore[arg-type]  # a decorator hides what `to` takes


def engine_on_gpu(family: str, dtype: torch.dtype, settings: EngineSettings) -> tuple[PackedRunner, Engine]:
    assistants = mixed.assistants() if family == "llama" else {}
    for assistant in assistants.values():
        assistant.model.to(dtype).to("cuda")  # type: ignore[arg-type]
    extensions = Extensions(Registry({}, {}), {}, assistants=assistants)
    runner, engine = assemble(on_gpu(family, dtype), settings, extensions)
    runner.check()
    return runner, engine


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "mistral"])
def test_a_mixed_batch_equals_generate_on_the_same_device(family: str) -> None:
    model = on_gpu(family)
    _, engine = engine_on_gpu(family, torch.float32, SETTINGS)
    arrivals, expected = {}, {}
    for number in range(16):
        fields = CASES[number % len(CASES)] | {"eos_token_id": 3}
        prompt_ids = torch.randint(4, 150, (1 + 5 * number,), generator=torch.Generator().manual_seed(number)).tolist()
        torch.manual_seed(number)
        with torch.inference_mode():
            out = model.generate(torch.tensor([prompt_ids], device="cuda"), generation_config=LibraryConfig(**fields))
        one = submission(family, prompt_ids, fields, seed=number)
        arrivals[number] = [one]
        expected[one.request_id] = out[:, len(prompt_ids) :].tolist()
    for name, answer in run(engine, arrivals).items():
        for row, token_ids in zip(expected[name], answer.sequences, strict=True):
            assert row[: len(token_ids)] == token_ids
            assert set(row[len(token_ids) :]) <= {0, 3}  # behind ended beams stands the end token


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_every_mode_in_one_batch_answers_as_alone(kernels: Any) -> None:
    """float32, so that no rounding decides; seeds draw other numbers than on a CPU, so alone means alone on a GPU."""
    _, engine = engine_on_gpu("llama", torch.float32, SETTINGS.model_copy(update={"kernels": kernels}))
    alone = {}
    for name in mixed.REQUESTS:
        one = mixed.asked(name)
        alone[name] = run(engine, {0: [one]})[one.request_id].sequences
    names: dict[str, str] = {}
    arrivals: dict[int, list[Submission]] = {}
    for number, name in enumerate(mixed.REQUESTS):
        one = mixed.asked(name)
        names[one.request_id] = name
        arrivals.setdefault((number * 7) % 11, []).append(one)
    together = {names[request_id]: answer.sequences for request_id, answer in run(engine, arrivals).items()}
    assert together == alone


@pytest.mark.parametrize("name", ["greedy", "greedy, processors", "beams", "groups of one", "looked up", "dola"])
def test_modes_that_draw_nothing_answer_as_on_a_cpu(name: str) -> None:
    _, engine = engine_on_gpu("llama", torch.float32, SETTINGS)
    one = mixed.asked(name)
    assert run(engine, {0: [one]})[one.request_id].sequences == mixed.alone()[name].sequences


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3", "gpt2", "builtin"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernel_gives_what_plain_torch_gives(family: str, dtype: torch.dtype) -> None:
    try_kernel(VarlenKernel(varlen_attn, "", takes_key_starts=True), on_gpu(family, dtype), BLOCK)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gemma3", "gpt2", "builtin"])
def test_mixed_steps_give_the_logits_of_the_other_attention(family: str) -> None:
    model = on_gpu(family, torch.bfloat16)
    kernel = VarlenKernel(varlen_attn, "", takes_key_starts=True)
    with torch.inference_mode():
        fast = PackedRunner(model, BlockCache(16, BLOCK), CudaBackend(model, kernel, CudaRecorder(model.device)))
        actual = mixed_steps(fast)
        model = on_gpu(family, torch.bfloat16)
        expected = mixed_steps(PackedRunner(model, BlockCache(16, BLOCK), TorchBackend(model, "torch")))
    for one, other in zip(actual, expected, strict=True):
        assert float((one - other).abs().max()) <= 6e-2 * float(other.abs().max())


@cache
def fast(family: str) -> tuple[PackedRunner, Engine]:
    return engine_on_gpu(family, torch.bfloat16, FAST)


def test_both_fast_ways_are_in_force_and_told_of() -> None:
    backend = fast("llama")[0].backend
    assert isinstance(backend, CudaBackend), backend.attention
    assert (backend.kernels, backend.attention) == ("torch, CUDA graphs", "paged, FlashAttention 2")


@pytest.mark.parametrize("num_rows", [1, 3, 8, 13, 32, 50, 64])
def test_a_step_played_back_gives_the_logits_of_the_plain_one(num_rows: int) -> None:
    runner = fast("llama")[0]
    assert isinstance(runner.backend, CudaBackend)
    graphs = runner.backend._graphs
    found = []
    for one in (graphs, None):
        runner.backend._graphs = one
        made = [Sequence([5 + row, *range(20, 24 + row % 30)], num_prompt=1) for row in range(num_rows)]
        for last in (False, True):
            feeds = []
            for sequence in made:
                fed = sequence.token_ids[-1:] if last else sequence.token_ids[:-1]
                runner.cache.reserve(sequence, len(fed))
                feeds.append(Feed(sequence, fed))
            logits = runner.forward(Batch(feeds, [])).logits
        found.append(logits)
        for sequence in made:
            runner.cache.free(sequence)
    runner.backend._graphs = graphs
    assert graphs is not None
    assert num_rows <= max(BUCKETS)
    assert float((found[0] - found[1]).abs().max()) <= 6e-2 * float(found[1].abs().max())


def test_greedy_tokens_do_not_depend_on_graphs() -> None:
    """Among tokens whose logits are far apart: the models' weights are drawn so."""
    runner, engine = fast("llama")
    assert isinstance(runner.backend, CudaBackend)
    graphs, answers = runner.backend._graphs, []
    for one in (graphs, None):
        runner.backend._graphs = one
        asked = [submission("llama", [7, 8, 9 + row], {"max_new_tokens": 30, "eos_token_id": 3}) for row in range(8)]
        found = run(engine, {0: asked})
        answers.append([found[request.request_id].sequences for request in asked])
    runner.backend._graphs = graphs
    assert answers[0] == answers[1]


@pytest.mark.parametrize("fields", [{}, {"do_sample": True, "top_k": 0}, {"do_sample": True, "top_k": 20}])
def test_a_step_waits_for_the_device_once(fields: dict[str, Any]) -> None:
    _, engine = fast("llama")
    for row in range(8):
        engine.submit(submission("llama", [7, 8, 9 + row], fields | {"max_new_tokens": 30, "eos_token_id": 3}, seed=1))
    for _ in range(4):
        engine.step()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            engine.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        while engine.has_work:
            engine.step()
    waits = [str(one.message) for one in caught if "synchronizing" in str(one.message)]
    assert len(waits) == 1, waits


def test_a_recording_that_fails_leaves_the_device_usable() -> None:
    model = on_gpu("llama", torch.bfloat16)

    def waits(*args: Any, **kwargs: Any) -> torch.Tensor:
        rows: torch.Tensor = varlen_attn(*args, **kwargs)
        rows.sum().item()
        return rows

    kernel = replace(VarlenKernel(varlen_attn, "", takes_key_starts=True), attend=waits)
    backend = CudaBackend(model, kernel, CudaRecorder(model.device))
    runner = PackedRunner(model, BlockCache(64, BLOCK), backend)
    runner.check()
    assert backend.kernels.startswith("torch; no CUDA graphs: ")
    sequence = Sequence([5, 6, 7], num_prompt=3)
    runner.cache.reserve(sequence, 3)
    assert runner.forward(Batch([Feed(sequence, [5, 6, 7])], [])).logits.isfinite().all()
