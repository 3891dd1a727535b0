"""Who acts when, what is refused before the first step, and which rows are bad."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.link.messages import Constraint, Named
from beamhouse.engine.logits.bad_rows import bad_rows
from beamhouse.engine.logits.constraints.trie import Trie
from beamhouse.engine.logits.pipeline import FIELDS
from beamhouse.engine.logits.registered.registry import BUILTIN_PROCESSORS, Registry
from beamhouse.schemas.generation.config import GenerationConfig
from tests.engine.logits.scoring import make_pipeline, make_request, make_row, process

VOCAB = 40


def test_every_field_read_is_a_field_of_the_configuration() -> None:
    assert set(GenerationConfig.model_fields) > FIELDS
    assert {"temperature", "sequence_bias", "renormalize_logits"} <= FIELDS


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.5, "top_k": 3, "top_p": 0.5},  # without do_sample
        {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "typical_p": 1.0, "epsilon_cutoff": 0.0},
        {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_length": 3, "renormalize_logits": False},
        {"begin_suppress_tokens": [1]},
        {"forced_bos_token_id": 1, "forced_eos_token_id": 1, "max_length": 9},
    ],
)
def test_a_step_in_which_nothing_acts_returns_the_logits_themselves(fields: dict[str, Any]) -> None:
    rows = [make_row(make_request([1, 2], (), **fields), [3]) for _ in range(2)]
    logits = torch.randn(2, VOCAB)
    assert process(make_pipeline(VOCAB), rows, logits) is logits


def test_rows_that_ask_for_nothing_stay_as_they_are_among_others() -> None:
    plain = make_row(make_request([1]), [])
    cold = make_row(make_request([1], do_sample=True, temperature=0.5), [])
    logits = torch.randn(3, VOCAB)
    before = logits.clone()
    scores = process(make_pipeline(VOCAB), [plain, cold, plain], logits)
    assert torch.equal(scores[[0, 2]], logits[[0, 2]])
    assert torch.equal(scores[1], logits[1] / 0.5)
    assert torch.equal(logits, before)


def test_several_rows_of_one_request_are_scored_by_their_own_tokens() -> None:
    request = make_request([1], repetition_penalty=2.0)
    rows = [make_row(request, [token]) for token in (4, 5)]
    scores = process(make_pipeline(VOCAB), rows, torch.ones(2, VOCAB))
    assert scores[:, [1, 4, 5]].tolist() == [[0.5, 0.5, 1.0], [0.5, 1.0, 0.5]]


def test_generated_tokens_are_penalized_by_their_number_and_for_being_there_at_all() -> None:
    counted = make_row(make_request([1, 9], frequency_penalty=0.5, presence_penalty=0.25), [4, 5, 4, 9])
    there = make_row(make_request([1], presence_penalty=-2.0), [3, 3])
    begun = make_row(make_request([1, 1], frequency_penalty=2.0), [])
    plain = make_row(make_request([1]), [4])
    logits = torch.full((4, VOCAB), 3.0)
    logits[0, 5] = -torch.inf
    expected = logits.clone()
    expected[0, [4, 9]] = torch.tensor([3.0 - 1.25, 3.0 - 0.75])
    expected[1, 3] = 5.0
    assert torch.equal(process(make_pipeline(VOCAB), [counted, there, begun, plain], logits), expected)


def test_what_was_generated_is_penalized_behind_repetition_and_before_the_temperature() -> None:
    fields = {"repetition_penalty": 2.0, "frequency_penalty": 0.5, "do_sample": True, "temperature": 0.5}
    scores = process(make_pipeline(VOCAB), [make_row(make_request([1], **fields), [4])], torch.full((1, VOCAB), 3.0))
    assert scores[0, [1, 4, 5]].tolist() == [3.0, 2.0, 6.0]


def test_all_problems_are_told_at_once() -> None:
    bad_arguments, too_far = Named("force_prefix", {"token_ids": []}), Constraint(trie="far")
    request = make_request([1], constraint=too_far, named=[bad_arguments])
    with pytest.raises(InvalidRequest) as caught:
        make_pipeline(VOCAB, Registry(BUILTIN_PROCESSORS, {}), tries={"far": Trie.build([[1, VOCAB]])}).prepare(request)
    assert len(caught.value.problems) == 2


def test_suppressed_tokens_beyond_the_vocabulary_do_no_harm() -> None:
    row = make_row(make_request([1], suppress_tokens=[3, VOCAB + 7]), [])
    scores = process(make_pipeline(VOCAB), [row], torch.zeros(1, VOCAB))
    assert scores[0].isneginf().nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize(
    ("values", "is_bad_greedy", "is_bad_sampling"),
    [
        ([0.0, -torch.inf, 1.0], False, False),
        ([0.0, torch.nan, torch.inf], True, True),
        ([0.0, torch.inf, 1.0], False, True),
        ([-torch.inf] * 3, False, True),
    ],
)
def test_rows_that_no_token_can_be_chosen_from_are_bad(
    values: list[float], is_bad_greedy: bool, is_bad_sampling: bool
) -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0], values])
    assert bad_rows(scores, for_sampling=False).tolist() == [False, is_bad_greedy]
    assert bad_rows(scores, for_sampling=True).tolist() == [False, is_bad_sampling]


def test_a_row_of_nan_leaves_its_neighbours_alone() -> None:
    fields = {"top_k": 5, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.9, "eta_cutoff": 0.1, "top_h": 0.5}
    rows = [make_row(make_request([1], do_sample=True, **fields), []) for _ in range(3)]
    logits = torch.randn(3, 2000)
    healthy = process(make_pipeline(2000), rows, logits)
    logits[1] = torch.nan
    poisoned = process(make_pipeline(2000), rows, logits)
    assert bad_rows(poisoned, for_sampling=True).tolist() == [False, True, False]
    assert torch.equal(poisoned[[0, 2]], healthy[[0, 2]])


class Ranked(TorchDispatchMode):
    """Counts the entries that are ranked or added up, each as often as that happens: what makes a cut dear."""

    dear = frozenset({"_softmax", "_log_softmax", "sort", "topk", "cumsum", "logcumsumexp"})

    def __init__(self) -> None:
        super().__init__()
        self.num_entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in self.dear:
            self.num_entries += args[0].numel()
        return func(*args, **(kwargs or {}))


def test_the_usual_cuts_rank_what_top_k_leaves_and_not_the_vocabulary() -> None:
    pipeline, logits = make_pipeline(32000), torch.randn(32, 32000)
    usual = [{"temperature": 0.5 + place / 50, "top_k": 20 + place, "top_p": 0.8} for place in range(32)]
    counts = []
    for fields in (usual, [{"top_p": 0.8}] * 32):
        rows = [make_row(make_request([1], do_sample=True, **one), []) for one in fields]
        with Ranked() as ranked:
            process(pipeline, rows, logits)
        counts.append(ranked.num_entries)
    assert counts[0] < logits.numel() / 20
    assert counts[1] >= logits.numel()  # where nothing is left out every entry is seen


@pytest.mark.parametrize("more", [{"top_p": 0.9}, {"typical_p": 0.9}, {"top_k": 2900, "top_p": 0.9}])
def test_a_row_is_cut_the_same_beside_one_that_keeps_most_of_the_vocabulary(more: dict[str, Any]) -> None:
    pipeline = make_pipeline(3007)
    narrow = make_row(make_request([1], do_sample=True, top_k=20, top_p=0.7, typical_p=0.8), [])
    wide = make_row(make_request([1], do_sample=True, **more), [])
    logits = torch.randn(3, 3007) * 3
    together = process(pipeline, [narrow, wide, narrow], logits)
    alone = [process(pipeline, [row], logits[[at]]) for at, row in enumerate([narrow, wide, narrow])]
    assert torch.equal(together, torch.cat(alone))
