"""Whole decoders in the kernels against the library's own: every family, however its tokens are fed."""

from functools import cache
from itertools import pairwise

import pytest
import torch
from transformers import PreTrainedModel

from beamhouse.engine.native.architecture import recognize
from beamhouse.engine.native.compiler import NoKernels
from beamhouse.engine.native.library import load_kernels
from beamhouse.engine.native.parts import OtherArchitecture
from beamhouse.engine.runners.check import check
from beamhouse.engine.runners.early_exit import EarlyExitRunner
from beamhouse.engine.runners.native_backend import NativeBackend
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.state.batch import Batch, Feed, Forward
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Sequence
from tests.engine.native.families import FAMILIES, VOCAB_SIZE, WINDOW, copy_of, library_model
from tests.parity.rounding import assert_close

NUM_TOKENS = 70
"""More than one group of keys, four blocks and five windows."""
AS_GOOD = 2.0
"""How many times the library's own error, against float64, ours may be."""


@pytest.fixture(autouse=True, scope="module")
def _needs_kernels() -> None:
    try:
        load_kernels(2)
    except NoKernels as error:
        pytest.skip(str(error))


@cache
def runner_of(family: str, dtype: torch.dtype = torch.float32) -> PackedRunner:
    """One runner per model, used by all tests: what they leave in its cache must not matter."""
    model, cache = copy_of(family, dtype), BlockCache(64, 16)
    return PackedRunner(model, cache, NativeBackend(model, load_kernels(2), cache))


def plain_runner(family: str) -> PackedRunner:
    return PackedRunner(copy_of(family), BlockCache(64, 16))


def tokens(seed: int, num: int = NUM_TOKENS) -> list[int]:
    return torch.randint(3, VOCAB_SIZE, (num,), generator=torch.Generator().manual_seed(seed)).tolist()


def feed(
    runner: PackedRunner | EarlyExitRunner, cache: BlockCache, sequences: list[Sequence], ends: list[int]
) -> Forward:
    """Feed each sequence up to its end, asking for all logits and all states."""
    num_layers = library_layers(runner)
    feeds, copies = [], []
    for sequence, end in zip(sequences, ends, strict=True):
        copy = cache.reserve(sequence, end - sequence.num_cached)
        copies.extend([copy] if copy else [])
        part = sequence.token_ids[sequence.num_cached : end]
        feeds.append(Feed(sequence, part, len(part), tuple(range(num_layers + 1)), len(part)))
    return runner.forward(Batch(feeds, [], copies))


def library_layers(runner: PackedRunner | EarlyExitRunner) -> int:
    if isinstance(runner, EarlyExitRunner):
        return runner.num_layers
    return int(runner.model.config.num_hidden_layers)


def fed(runner: PackedRunner, token_ids: list[int], ends: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, V) and states (layers + 1, n, d) of a sequence that is fed in parts."""
    sequence = Sequence(token_ids, num_prompt=len(token_ids))
    parts = [feed(runner, runner.cache, [sequence], [end]) for end in ends]
    runner.cache.free(sequence)
    return torch.cat([part.logits for part in parts]), torch.cat([part.hidden[sequence] for part in parts], dim=1)


@torch.inference_mode()
def library(model: PreTrainedModel, token_ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    out = model(torch.tensor([token_ids]), output_hidden_states=True, use_cache=False)
    return out.logits[0], torch.cat(list(out.hidden_states))


def error(actual: torch.Tensor, exact: torch.Tensor) -> float:
    return float((actual.double() - exact).norm())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_the_check_of_a_recognised_family_finds_nothing_wrong(family: str, dtype: torch.dtype) -> None:
    check(runner_of(family, dtype))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_logits_and_states_are_as_exact_as_the_librarys(family: str, dtype: torch.dtype) -> None:
    model, token_ids = copy_of(family, dtype), tokens(1)
    theirs, exact = library(model, token_ids), library(model.double(), token_ids)
    ours = fed(runner_of(family, dtype), token_ids, [NUM_TOKENS])
    assert error(ours[0], exact[0]) <= AS_GOOD * error(theirs[0], exact[0])
    for layer in range(1, len(exact[1])):
        assert error(ours[1][layer], exact[1][layer]) <= AS_GOOD * error(theirs[1][layer], exact[1][layer])
    assert torch.equal(ours[1][0], theirs[1][0])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("ends", [[1, 2, 3, 40, 70], [16, 32, 33, 65, 70], [64, 69, 70]])
def test_how_a_prompt_is_cut_changes_no_bit(family: str, dtype: torch.dtype, ends: list[int]) -> None:
    runner, token_ids = runner_of(family, dtype), tokens(2)
    whole, parts = fed(runner, token_ids, [NUM_TOKENS]), fed(runner, token_ids, ends)
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("num_rows", [2, 9])
def test_neighbours_change_no_bit(family: str, dtype: torch.dtype, num_rows: int) -> None:
    runner = runner_of(family, dtype)
    sequences = [Sequence(tokens(row), num_prompt=NUM_TOKENS) for row in range(num_rows)]
    alone = [fed(runner, sequence.token_ids, [NUM_TOKENS])[0] for sequence in sequences]
    # Some go ahead, so that prompts and single tokens share steps.
    steps = [[min(NUM_TOKENS, (1 + row) * step * step) for row in range(num_rows)] for step in range(9)]
    found: dict[Sequence, list[torch.Tensor]] = {sequence: [] for sequence in sequences}
    for before, ends in pairwise(steps):
        living = [row for row in range(num_rows) if before[row] < ends[row]]
        forward = feed(runner, runner.cache, [sequences[row] for row in living], [ends[row] for row in living])
        for row in living:
            span = forward.spans[sequences[row]]
            found[sequences[row]].append(forward.logits[span.start : span.stop])
    for sequence, expected in zip(sequences, alone, strict=True):
        logits = torch.cat(found[sequence])
        runner.cache.free(sequence)
        assert torch.equal(logits, expected[: len(logits)])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_early_exit_gives_what_the_first_layers_give(family: str) -> None:
    found = []
    for runner in (runner_of(family), plain_runner(family)):
        cache, sequence = BlockCache(16, 16), Sequence(tokens(3), num_prompt=NUM_TOKENS)
        early = EarlyExitRunner(runner, cache)
        early.num_layers = 1
        found.append(feed(early, cache, [sequence], [NUM_TOKENS]))
    assert_close(found[0].logits, found[1].logits)


@pytest.mark.parametrize("family", ["starcoder2", "gemma3"])
def test_a_window_hides_what_lies_before_it(family: str) -> None:
    runner, (first, *rest) = runner_of(family), tokens(4)
    states = [fed(runner, [token, *rest], [NUM_TOKENS])[1] for token in (first, first + 1 if first < 9 else first - 1)]
    # What the first layer gives from the window's end on does not know the first token, what it gives before does.
    assert torch.equal(states[0][1][WINDOW:], states[1][1][WINDOW:])
    assert not torch.equal(states[0][1][WINDOW - 1], states[1][1][WINDOW - 1])


def test_without_a_window_everything_is_seen() -> None:
    runner, (first, *rest) = runner_of("gpt2_wide"), tokens(4)
    states = [fed(runner, [token, *rest], [NUM_TOKENS])[1] for token in (first, first + 1 if first < 9 else first - 1)]
    assert not torch.equal(states[0][1][-1], states[1][1][-1])


@pytest.mark.parametrize("family", ["gpt_neox", "gemma3", "granite"])
def test_a_fork_writes_into_copies_of_its_parents_blocks(family: str) -> None:
    runner = runner_of(family)
    start, ends = tokens(5, 21), (tokens(6, 9), tokens(7, 9))
    expected = [fed(runner, start + end, [21, 30])[0][-9:] for end in ends]
    parent = Sequence(start + ends[0], num_prompt=21)
    feed(runner, runner.cache, [parent], [21])
    child = Sequence(start + ends[1], num_prompt=21)
    runner.cache.fork(parent, child)
    logits = feed(runner, runner.cache, [parent, child], [30, 30]).logits
    for sequence in (parent, child):
        runner.cache.free(sequence)
    assert torch.equal(logits, torch.cat(expected))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_left_of_the_model_computes_with_the_packed_weights(family: str) -> None:
    runner = runner_of(family)
    with runner.attending():
        logits, _ = library(runner.model, tokens(8, 30))
    expected, _ = library(library_model(family), tokens(8, 30))
    assert_close(logits, expected)


@pytest.mark.parametrize("part", ["norm", "activation", "scale"])
def test_what_the_kernels_do_not_know_is_turned_away_and_left_alone(part: str) -> None:
    model = copy_of("qwen2")
    layer = model.get_decoder().layers[1]
    if part == "norm":
        layer.input_layernorm.forward = lambda x: x / x.abs().mean(-1, keepdim=True)
    elif part == "activation":
        layer.mlp.act_fn = torch.nn.Softplus()
    else:
        layer.residual_scale = torch.nn.Parameter(torch.ones(1))
    modules = list(model.modules())
    with pytest.raises(OtherArchitecture):
        recognize(model)
    with pytest.raises(OtherArchitecture):
        NativeBackend(model, load_kernels(2), BlockCache(8, 16))
    assert list(model.modules()) == modules
