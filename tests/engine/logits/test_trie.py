"""Trees over phrases look at a phrase only as far as a sequence follows it."""

import random

from beamhouse.engine.decoding.constraint_progress import ConstraintProgress, Demand
from beamhouse.engine.logits.constraints.trie import tree_of
from beamhouse.engine.logits.processors.bias import BiasTable


class Watched(tuple[int, ...]):
    """A phrase that counts how often one of its tokens is looked at."""

    looks = 0

    def __getitem__(self, place):
        Watched.looks += 1
        return super().__getitem__(place)


def phrases(number: int, length: int) -> list[Watched]:
    draw = random.Random(0)
    return [Watched(draw.choices(range(5000), k=length)) for _ in range(number)]


def test_a_choice_of_thousands_of_phrases_is_looked_through_once():
    given = phrases(4000, 8)
    progress = ConstraintProgress.start([Demand.of(given)])
    Watched.looks = 0
    firsts = {one[0] for one in list(map(tuple, given))}
    for _ in range(50):
        assert set(progress.next_ids) == firsts
        assert {progress.bank_after(token) for token in firsts} == {1}
        assert progress.bank_after(5001) == 0
        assert all(progress.after(token).open is not None for token in list(firsts)[:64])
    assert Watched.looks <= 2 * len(given)


def test_the_bank_after_a_token_is_the_one_of_the_place_it_leads_to():
    progress = ConstraintProgress.start([Demand.of([[1, 2, 3], [1, 4], [5]]), Demand.of([[6]], Demand.of([[7, 8]]))])
    paths = [([1], 1), ([1, 4], 3), ([1, 2], 2), ([1, 9], 0), ([5], 3), ([6, 7], 3 + 2), ([6, 7, 8, 5], 9)]
    for token_ids, bank in paths:
        assert progress.after_all(token_ids[:-1]).bank_after(token_ids[-1]) == bank
    assert progress.after_all([6, 7, 8, 5]).is_complete


def test_phrases_of_many_lengths_are_compared_only_as_far_as_they_agree():
    table = BiasTable.build({(*[1] * length, 2): float(length) for length in range(1000)})
    assert [ids.tolist() for ids, _ in table.matching([1, 3] * 500)] == [[2]]
    found = table.matching([3, 1, 1, 1])
    assert [values.tolist() for _, values in found] == [[0.0], [1.0], [2.0], [3.0]]


def test_sums_keep_the_order_in_which_lengths_were_given():
    table = BiasTable.build({(3, 2, 1, 9): 0.5, (2, 1, 9): 1.5, (9,): 4.0, (1, 9): 2.5})
    assert [values.tolist() for _, values in table.matching([3, 2, 1])] == [[4.0], [0.5], [1.5], [2.5]]


def test_a_tree_knows_where_sequences_end_and_which_tokens_go_on():
    root = tree_of([[1, 2], [1], [3, 4, 5]])
    assert list(root.children) == [1, 3]
    assert (root.children[1].end, root.children[1].is_leaf) == (1, False)
    assert root.children[3].end is None
    assert root.children[1].children[2].is_leaf


def test_hypotheses_that_wait_for_the_same_share_what_may_begin():
    start = ConstraintProgress.start([Demand.of([[1, 2], [3, 4]]), Demand.of([[5, 6]])])
    broken = start.after(5).after(9), start.after(5).after(8)
    assert broken[0].next_by_bank is broken[1].next_by_bank
    assert broken[0].next_by_bank is start.next_by_bank
    assert sorted(start.next_ids) == [1, 3, 5]
