"""Attention in one call a layer against the other paged attention, and its plain form against the library's."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from beamhouse.engine.attention.block_tables import BufferLayout, stage
from beamhouse.engine.attention.varlen import Varlen, VarlenKernel
from beamhouse.engine.attention.varlen_plain import varlen_plain
from beamhouse.engine.runners.backend import Backend
from beamhouse.engine.runners.cuda_backend import CudaBackend
from beamhouse.engine.runners.cuda_pick import NoVarlen, try_kernel
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.runners.torch_backend import TorchBackend
from beamhouse.engine.state.batch import Feed
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Sequence
from tests.engine.runners.mixed_steps import feed, mixed_steps, tokens
from tests.gpu_stand_ins import KERNEL, Recorder
from tests.parity.models import served

BLOCK = 16


def runner_of(family: str, *, is_varlen: bool, kernel: VarlenKernel = KERNEL) -> PackedRunner:
    model = served(family)
    backend: Backend = CudaBackend(model, kernel, Recorder()) if is_varlen else TorchBackend(model, "torch")
    return PackedRunner(model, BlockCache(64, BLOCK), backend)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gemma3", "gpt2", "opt", "gpt_neox", "builtin"])
def test_mixed_steps_give_the_logits_of_the_other_attention(family: str) -> None:
    with torch.inference_mode():
        expected = mixed_steps(runner_of(family, is_varlen=False))
        actual = mixed_steps(runner_of(family, is_varlen=True))
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("is_varlen", [False, True])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
@torch.inference_mode()
def test_what_others_left_in_the_cache_is_not_read(family: str, is_varlen: bool) -> None:
    expected, runner = (runner_of(family, is_varlen=is_varlen) for _ in range(2))
    other = Sequence(tokens(9, 70), num_prompt=70)
    feed(runner, [(other, 70)])
    runner.cache.free(other)
    paged = getattr(runner._store, "_paged", runner._store)
    for store in (*paged.keys.values(), *paged.values.values()):
        store.fill_(torch.nan)
    for one, clean in zip(mixed_steps(runner), mixed_steps(expected), strict=True):
        assert torch.equal(one, clean)


@pytest.mark.parametrize("is_varlen", [False, True])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
@torch.inference_mode()
def test_a_token_without_numbers_reaches_those_behind_it_alone(family: str, is_varlen: bool) -> None:
    healthy = tokens(3, 30)
    runner = runner_of(family, is_varlen=is_varlen)
    expected, _ = feed(runner, [(Sequence(healthy, num_prompt=30), 30)])
    runner.model.get_input_embeddings().weight[151] = torch.nan
    poisoned = Sequence([*healthy[:20], 151, *healthy[21:]], num_prompt=30)
    found = torch.cat([feed(runner, [(poisoned, count)])[0] for count in (8, 22)])
    is_number = torch.arange(runner.vocab_size) != 151  # the head may be the embedding
    torch.testing.assert_close(found[:20, is_number], expected[:20, is_number], rtol=1e-5, atol=1e-4)
    assert found[20:].isnan().all()


def test_layers_the_kernel_has_not_are_told_of() -> None:
    runner = runner_of("gemma2", is_varlen=True)
    runner.check()
    assert runner.backend.attention == "paged, stand-in; in torch: capped logits, sinks or chunks"
    assert runner.backend.kernels.startswith("torch; no CUDA graphs: not every layer attends in one call")


def test_a_kernel_that_goes_wrong_gives_way_to_the_other_attention() -> None:
    wrong = VarlenKernel(zeros, "zeros", takes_key_starts=True)
    runner = runner_of("llama", is_varlen=True, kernel=wrong)
    plain = runner.backend.plain
    runner.check()
    assert isinstance(runner.backend, TorchBackend)
    assert runner.backend.kernels == "torch"
    assert runner.backend.attention.startswith("paged, torch; no varlen attention: LlamaForCausalLM gives other logits")
    assert runner.backend.plain == plain


@pytest.mark.parametrize("window", [None, 1, 4])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_the_plain_form_equals_the_librarys_attention(window: int | None, kv_heads: int) -> None:
    random = torch.Generator().manual_seed(1)
    counts, lengths, block = [3, 1, 7], [10, 9, 7], 4
    query = torch.randn(sum(counts), 4, 8, generator=random)
    keys, values = (torch.randn(9, block, kv_heads, 8, generator=random) for _ in range(2))
    tables = torch.tensor([[7, 0, 3], [1, 8, 2], [5, 4, 6]], dtype=torch.int32)
    starts = torch.tensor([0, 3, 4, 11], dtype=torch.int32)
    found = varlen_plain(
        query, keys, values, starts, None, 7, 10, scale=0.3, window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=kv_heads != 4, seqused_k=torch.tensor(lengths, dtype=torch.int32), block_table=tables, num_splits=1,
    )  # fmt: skip
    for row, (count, length) in enumerate(zip(counts, lengths, strict=True)):
        own = slice(int(starts[row]), int(starts[row + 1]))
        key, value = (store[tables[row].long()].flatten(0, 1)[:length].transpose(0, 1) for store in (keys, values))
        places, at = torch.arange(length), torch.arange(length - count, length)[:, None]
        mask = (places <= at) & (places > at - (window or length))
        expected = scaled_dot_product_attention(
            query[own].transpose(0, 1), key, value, attn_mask=mask, scale=0.3, enable_gqa=True
        )
        torch.testing.assert_close(found[own], expected.transpose(0, 1))


def test_rows_that_only_pad_read_and_write_in_the_spare_block() -> None:
    sequence = Sequence([5, 6, 7, 8, 9], num_prompt=5, num_cached=4, block_ids=[3, 1], num_masked=2)
    layout = BufferLayout(num_tokens=4, num_rows=4, num_blocks=3, num_kept=4, max_fed=1, max_keys=12)
    step = layout.views(stage(layout, [Feed(sequence, [9])], range(4), 4, 64, is_pinned=False))
    assert step.token_ids.tolist() == [9, 0, 0, 0]
    assert step.positions.tolist() == [6, 0, 0, 0]
    assert step.slots.tolist() == [1 * 4 + 0, 256, 256, 256]
    assert step.lengths.tolist() == [5, 1, 1, 1]
    assert step.starts.tolist() == [0, 1, 2, 3, 4]
    assert step.key_starts.tolist() == [0, 5, 6, 7, 8]
    assert step.tables.tolist() == [[3, 1, 64], [64, 64, 64], [64, 64, 64], [64, 64, 64]]


def zeros(query: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
    return torch.zeros_like(query)


def ignores_windows(*args: torch.Tensor, **kwargs: object) -> torch.Tensor:
    return varlen_plain(*args, **kwargs | {"window_size": (-1, 0)})  # type: ignore[arg-type]


def reads_on(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: object, **told: object
) -> torch.Tensor:
    """Multiplies by 0 what lies behind the end of a row."""
    found = varlen_plain(query, key, value, *args, **told)  # type: ignore[arg-type]
    return found + 0 * value.sum()


def refuses(*args: object, **kwargs: object) -> torch.Tensor:
    raise RuntimeError("blocks of 256 only\nat some line")


def test_a_kernel_that_gives_what_plain_torch_gives_is_taken() -> None:
    try_kernel(KERNEL, served("llama").to(torch.bfloat16), BLOCK)


@pytest.mark.parametrize(
    ("attend", "reason"),
    [
        (zeros, "other results than plain torch"),
        (ignores_windows, "other results than plain torch"),
        (reads_on, "other results than plain torch, by nan"),
        (refuses, "^blocks of 256 only$"),
    ],
)
def test_a_kernel_that_does_not_is_left_alone_with_a_reason(attend: Varlen, reason: str) -> None:
    with pytest.raises(NoVarlen, match=reason):
        try_kernel(replace(KERNEL, attend=attend), served("llama").to(torch.bfloat16), BLOCK)


def test_a_type_the_kernel_has_not_is_named() -> None:
    with pytest.raises(NoVarlen, match="float32"):
        try_kernel(KERNEL, served("llama"), BLOCK)
