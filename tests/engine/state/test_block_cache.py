"""The block accounting, held to a model of it: what each block holds, written token by token."""

import hashlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from beamhouse.engine.state.block_cache import BlockCache, BlockCopy, CacheFull
from beamhouse.engine.state.request import Sequence

SIZE, NUM_BLOCKS = 4, 12


class CacheMachine(RuleBasedStateMachine):
    """Random forks, writes, truncations and frees; every sequence must always read back its own tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = BlockCache(NUM_BLOCKS, SIZE)
        self.slots = [-1] * (NUM_BLOCKS * SIZE)
        self.sequences: list[Sequence] = []

    def slot(self, sequence: Sequence, position: int) -> int:
        return sequence.block_ids[position // SIZE] * SIZE + position % SIZE

    def copy(self, copy: BlockCopy) -> None:
        source, target = copy.source * SIZE, copy.target * SIZE
        self.slots[target : target + SIZE] = self.slots[source : source + SIZE]

    @rule(tokens=st.lists(st.integers(0, 2), min_size=1, max_size=14))
    def start(self, tokens: list[int]) -> None:
        sequence = Sequence(list(tokens), num_prompt=len(tokens))
        matched = self.cache.match_prefix(sequence, "salt")
        assert matched == sequence.num_cached < len(tokens)
        copy = self.cache.match_part(sequence, "salt")
        if copy is not None:
            self.copy(copy)
            assert matched < sequence.num_cached < len(tokens)
        self.sequences.append(sequence)

    @precondition(lambda self: self.sequences)
    @rule(data=st.data(), more=st.integers(0, 5))
    def write(self, data: st.DataObject, more: int) -> None:
        sequence = data.draw(st.sampled_from(self.sequences))
        sequence.token_ids.extend(data.draw(st.lists(st.integers(0, 2), min_size=more, max_size=more)))
        num = sequence.num_missing
        needed, free = self.cache.num_needed(sequence, num), self.cache.num_free
        try:
            copy = self.cache.reserve(sequence, num)
        except CacheFull:
            assert needed > free
            return
        assert self.cache.num_free == free - needed
        if copy is not None:
            self.copy(copy)
        for position in range(sequence.num_cached, sequence.num_cached + num):
            self.slots[self.slot(sequence, position)] = sequence.token_ids[position]
        sequence.num_cached += num
        self.cache.publish(sequence, "salt")

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        parent = data.draw(st.sampled_from(self.sequences))
        child = Sequence(list(parent.token_ids), parent.num_prompt)
        self.cache.fork(parent, child)
        self.sequences.append(child)

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.sequences))
        self.cache.truncate(sequence, data.draw(st.integers(0, sequence.num_cached)))
        del sequence.token_ids[sequence.num_cached + 1 :]

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.sequences))
        self.sequences.remove(sequence)
        self.cache.free(sequence)

    @invariant()
    def every_sequence_reads_its_own_tokens(self) -> None:
        for sequence in self.sequences:
            read = [self.slots[self.slot(sequence, position)] for position in range(sequence.num_cached)]
            assert read == sequence.token_ids[: sequence.num_cached]

    @invariant()
    def blocks_in_use_are_those_somebody_holds(self) -> None:
        held = {block for sequence in self.sequences for block in sequence.block_ids}
        assert self.cache.num_used == len(held)

    def teardown(self) -> None:
        for sequence in self.sequences:
            self.cache.free(sequence)
        assert self.cache.num_free == NUM_BLOCKS


TestCache = CacheMachine.TestCase
TestCache.settings = settings(max_examples=150, stateful_step_count=40)


def cached(cache: BlockCache, tokens: list[int], salt: str = "") -> Sequence:
    sequence = Sequence(tokens, num_prompt=len(tokens))
    cache.match_prefix(sequence, salt)
    cache.reserve(sequence, sequence.num_missing)
    sequence.num_cached = len(tokens)
    cache.publish(sequence, salt)
    return sequence


def test_a_second_prompt_takes_the_blocks_of_the_first() -> None:
    cache = BlockCache(8, SIZE)
    first = cached(cache, list(range(10)))
    second = Sequence([*range(8), 99, 98], num_prompt=10)
    assert cache.match_prefix(second, "") == 8
    assert second.block_ids == first.block_ids[:2]


def test_published_blocks_survive_their_sequence_until_room_is_needed() -> None:
    cache = BlockCache(3, SIZE)
    cache.free(cached(cache, list(range(9))))
    again = Sequence(list(range(9)), num_prompt=9)
    assert cache.match_prefix(again, "") == 8
    cache.free(again)
    cached(cache, list(range(50, 62)))
    assert cache.match_prefix(Sequence(list(range(9)), num_prompt=9), "") == 0


def test_another_salt_shares_nothing() -> None:
    cache = BlockCache(8, SIZE)
    cached(cache, list(range(10)), salt="a")
    assert cache.match_prefix(Sequence(list(range(10)), num_prompt=10), "b") == 0


def test_the_last_prompt_token_is_always_computed() -> None:
    cache = BlockCache(8, SIZE)
    cached(cache, list(range(8)))
    assert cache.match_prefix(Sequence(list(range(8)), num_prompt=8), "") == 4


def test_a_fork_costs_one_block_when_it_writes() -> None:
    cache = BlockCache(8, SIZE)
    parent = cached(cache, list(range(6)))
    child = Sequence(list(range(6)), num_prompt=6)
    cache.fork(parent, child)
    used = cache.num_used
    child.token_ids.append(7)
    copy = cache.reserve(child, 1)
    assert copy is not None
    assert (copy.source, cache.num_used) == (parent.block_ids[1], used + 1)
    assert cache.reserve(parent, 1) is None


def test_without_prefix_caching_nothing_is_found() -> None:
    cache = BlockCache(8, SIZE, prefix_caching=False)
    cached(cache, list(range(8)))
    assert cache.match_prefix(Sequence(list(range(8)), num_prompt=8), "") == 0


def test_masked_beginnings_are_kept_apart() -> None:
    cache = BlockCache(8, SIZE)
    cached(cache, list(range(10)))
    masked = Sequence(list(range(10)), num_prompt=10, num_masked=2)
    assert cache.match_prefix(masked, "") == 0


def test_blocks_published_later_are_taken_too_but_not_within_a_block() -> None:
    cache = BlockCache(16, SIZE)
    first, second, third = (Sequence(list(range(10)), num_prompt=10) for _ in range(3))
    cache.reserve(first, 4)
    first.num_cached = 4
    cache.publish(first, "")
    assert [cache.match_prefix(one, "") for one in (second, third)] == [4, 4]
    cache.reserve(third, 1)
    third.num_cached += 1
    cache.reserve(first, 6)
    first.num_cached = 10
    assert cache.filled_by(second, 6, "") == cache.filled_by(second, 1, "") == [cache._digest(first, 1, "")]
    cache.publish(first, "")
    assert [cache.match_prefix(one, "") for one in (second, third)] == [4, 0]


def test_digests_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = BlockCache(8, SIZE)
    sequence = Sequence(list(range(20)), num_prompt=20)
    cache.filled_by(sequence, 20, "")
    monkeypatch.setattr(hashlib, "sha256", None)
    for _ in range(3):
        assert cache.match_prefix(sequence, "") == 0
        cache.free(sequence)


def test_the_block_where_a_prompt_departs_is_copied_up_to_there() -> None:
    cache = BlockCache(8, SIZE)
    first = cached(cache, list(range(10)))
    second = Sequence([*range(6), 99, 98], num_prompt=8)
    assert cache.match_prefix(second, "") == 4
    copy = cache.match_part(second, "")
    assert copy is not None
    assert (copy.source, copy.target, second.num_cached) == (first.block_ids[1], second.block_ids[1], 6)
    assert cache.reserve(second, 2) is None
    assert cache.match_prefix(Sequence(list(range(10)), num_prompt=10), "") == 8


def test_no_part_is_copied_when_only_its_own_block_is_free() -> None:
    cache = BlockCache(3, SIZE)
    cache.free(cached(cache, list(range(8))))
    cached(cache, [50, 51, 52, 53, 54])
    holder = Sequence([0, 1, 9, 9], num_prompt=4)
    assert cache.num_free == 1
    assert cache.match_part(holder, "") is None
