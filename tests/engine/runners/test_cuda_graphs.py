"""Recorded steps, with calls in the place of graphs: which one is taken, and that padding harms nobody."""

import pytest
import torch

from beamhouse.engine.runners.cuda_backend import CudaBackend
from beamhouse.engine.runners.cuda_graphs import BUCKETS, Record, Recording
from beamhouse.engine.runners.packed import PackedRunner
from beamhouse.engine.state.batch import Batch, Feed
from beamhouse.engine.state.block_cache import BlockCache
from beamhouse.engine.state.request import Sequence
from tests.gpu_stand_ins import KERNEL, Recorder
from tests.parity.models import reference, served

NUM_BLOCKS, BLOCK = 96, 16


def recorded(recorder: Record) -> PackedRunner:
    """A runner whose steps are recorded, where they can be."""
    model = served("llama")
    runner = PackedRunner(model, BlockCache(NUM_BLOCKS, BLOCK), CudaBackend(model, KERNEL, recorder))
    runner.check()
    return runner


def sequences(runner: PackedRunner, count: int) -> list[Sequence]:
    """Sequences of different lengths, fed up to their last token."""
    made = [Sequence([7 + one, *range(20, 23 + one % 20)], num_prompt=1) for one in range(count)]
    step(runner, [(one, len(one.token_ids) - 1) for one in made])
    return made


def step(runner: PackedRunner, shares: list[tuple[Sequence, int]]) -> torch.Tensor:
    feeds = []
    for sequence, count in shares:
        runner.cache.reserve(sequence, count)
        start = sequence.num_cached
        feeds.append(Feed(sequence, sequence.token_ids[start : start + count]))
    return runner.forward(Batch(feeds, [])).logits


def stored(runner: PackedRunner) -> torch.Tensor:
    """What all blocks hold of the first layer's keys, the spare one last. (B, block, H_kv, D)"""
    keys: torch.Tensor = runner._store._paged.keys[0]  # type: ignore[attr-defined]
    return keys.view(NUM_BLOCKS + 1, BLOCK, *keys.shape[1:]).clone()


def test_every_bucket_is_recorded_the_largest_first() -> None:
    recorder = Recorder()
    runner = recorded(recorder)
    assert recorder.recorded == sorted(BUCKETS, reverse=True)
    assert runner.backend.kernels == "torch, CUDA graphs"


@pytest.mark.parametrize(("num_rows", "bucket"), [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (33, 64), (64, 64)])
def test_a_step_is_played_back_in_the_next_bucket_and_cut_to_its_rows(num_rows: int, bucket: int) -> None:
    recorder = Recorder()
    runner = recorded(recorder)
    rows = sequences(runner, num_rows)
    recorder.plays.clear()
    logits = step(runner, [(one, 1) for one in rows])
    assert recorder.plays == [bucket]
    assert len(logits) == num_rows
    for one, row in zip(rows, logits, strict=True):
        with torch.inference_mode():
            expected = reference("llama")(torch.tensor([one.token_ids]), use_cache=False).logits[0, -1]
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-4)


def test_padding_changes_no_block_of_a_sequence() -> None:
    runner = recorded(Recorder())
    rows = sequences(runner, 5)
    before = stored(runner)
    step(runner, [(one, 1) for one in rows])
    is_changed = (stored(runner) != before).flatten(2).any(-1)  # (B, block)
    last = [(one.block_ids[(one.num_cached - 1) // BLOCK], (one.num_cached - 1) % BLOCK) for one in rows]
    assert {(block, slot) for block, slot in is_changed.nonzero().tolist() if block < NUM_BLOCKS} == set(last)


def test_logits_stay_when_the_next_step_is_played_back() -> None:
    runner = recorded(Recorder())
    rows = sequences(runner, 3)
    first = step(runner, [(one, 1) for one in rows])
    kept = first.clone()
    for one in rows:
        one.token_ids.append(50)
    second = step(runner, [(one, 1) for one in rows])
    assert torch.equal(first, kept)
    assert not torch.equal(first, second)


def test_steps_with_several_tokens_of_a_row_or_too_many_rows_run_plainly() -> None:
    recorder = Recorder()
    runner = recorded(recorder)
    one, two = sequences(runner, 2)
    one.token_ids.extend([5, 6])
    recorder.plays.clear()
    step(runner, [(one, 3), (two, 1)])
    step(runner, [(row, 1) for row in (Sequence([9], num_prompt=1) for _ in range(65))])
    assert recorder.plays == []


def test_more_blocks_than_a_recorded_table_has_are_not_played_back() -> None:
    runner = recorded(Recorder())
    assert isinstance(runner.backend, CudaBackend)
    graphs = runner.backend._graphs
    assert graphs is not None
    most = runner.cache.num_blocks_for(runner.context_len)
    for num_blocks in (most, most + 1):
        sequence = Sequence([5], num_prompt=1, block_ids=list(range(num_blocks)))
        with torch.inference_mode():
            logits = graphs.run([Feed(sequence, [5])])
        assert (logits is None) is (num_blocks > most)


def test_hidden_states_are_never_played_back() -> None:
    recorder = Recorder()
    runner = recorded(recorder)
    (one,) = sequences(runner, 1)
    recorder.plays.clear()
    runner.cache.reserve(one, 1)
    forward = runner.forward(Batch([Feed(one, one.token_ids[-1:], layers=(0, 1), num_hidden=1)], []))
    assert forward.hidden[one].shape == (2, 1, runner.model.config.hidden_size)
    assert recorder.plays == []


def test_another_store_is_never_played_back() -> None:
    recorder = Recorder()
    runner = recorded(recorder)
    other = BlockCache(NUM_BLOCKS, BLOCK)
    store, one = runner.backend.new_store(other), Sequence([7, 20, 21], num_prompt=1)
    recorder.plays.clear()
    for token in one.token_ids:
        other.reserve(one, 1)
        runner.forward(Batch([Feed(one, [token])], []), store=store)
    assert recorder.plays == []


def test_a_playback_that_differs_turns_recording_off() -> None:
    recorder = Recorder(drift=1.0)
    runner = recorded(recorder)
    assert runner.backend.kernels.startswith("torch; no CUDA graphs: 64 rows played back give other logits")
    recorder.plays.clear()
    step(runner, [(one, 1) for one in sequences(runner, 2)])
    assert recorder.plays == []


def test_a_recording_that_fails_turns_recording_off() -> None:
    def fails(compute: object) -> Recording:
        raise RuntimeError("operation not permitted when stream is capturing\nCompile with more")

    runner = recorded(fails)
    assert runner.backend.kernels == "torch; no CUDA graphs: operation not permitted when stream is capturing"
    assert len(step(runner, [(one, 1) for one in sequences(runner, 2)])) == 2
