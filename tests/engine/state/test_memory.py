"""What is kept on requests and sequences, each thing in the slot of its owner."""

import pytest

from beamhouse.engine.state.memory import Memory, Slot
from beamhouse.engine.state.request import Sequence

COUNT, WORDS = Slot[int]("count"), Slot[tuple[str, ...]]("words")


def test_slots_of_one_name_are_two_places() -> None:
    memory, other = Memory(), Slot[int]("count")
    memory[COUNT], memory[other] = 1, 2
    assert (memory[COUNT], memory[other]) == (1, 2)


def test_an_empty_slot_is_none_or_named_by_the_error() -> None:
    assert Memory().get(COUNT) is None
    with pytest.raises(KeyError, match="count"):
        Memory()[COUNT]


def test_a_fork_begins_with_what_was_known_and_goes_its_own_way() -> None:
    sequence = Sequence([1, 2, 3], num_prompt=2, num_masked=1, renewed_at=9)
    sequence.memory[COUNT] = 1
    fork = sequence.fork()
    fork.memory[COUNT], fork.memory[WORDS] = 2, ("new",)
    fork.token_ids.append(4)
    assert (sequence.memory[COUNT], sequence.memory.get(WORDS), sequence.token_ids) == (1, None, [1, 2, 3])
    assert (fork.num_generated, fork.num_masked, fork.renewed_at, fork.block_ids) == (2, 1, 9, [])


def test_what_a_look_ahead_remembered_is_kept_only_where_it_is_learned() -> None:
    sequence = Sequence([1], num_prompt=1)
    for count in (2, 3):
        sequence.ahead([count]).memory[COUNT] = count
    assert sequence.memory.get(COUNT) is None
    view = sequence.ahead([4])
    view.memory[COUNT] = 4
    sequence.learn(view)
    assert (sequence.memory[COUNT], sequence.token_ids) == (4, [1])
