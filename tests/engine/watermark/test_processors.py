"""The scores of marked rows against those of the library's processors."""

import random
from typing import Any

import pytest
import torch

from beamhouse.engine.logits.pipeline import Pipeline
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.state.request import Row, Sequence
from beamhouse.engine.watermark.profiles import Profile
from beamhouse.schemas.generation.watermarking import WatermarkingConfig
from tests.engine.logits.scoring import CPU, make_pipeline, make_request, make_row, process
from tests.engine.watermark.marks import library_processor, random_green_list, random_synthid

NUM_STEPS = 10
LEFTHASH = {"hashing_key": 77, "bias": 3.0}
SYNTHID = {"ngram_len": 3, "keys": [5, 6, 7]}


def random_mark(rng: random.Random) -> Any:
    return rng.choice([random_green_list, random_synthid])(rng)


@pytest.mark.parametrize("vocab_size", [50, 4099])
@pytest.mark.parametrize("seed", range(8))
def test_rows_of_many_watermarks_get_the_bits_of_the_library(vocab_size: int, seed: int) -> None:
    rng, pipeline = random.Random(seed), make_pipeline(vocab_size)
    marks = [random_mark(rng) for _ in range(5)]
    theirs = [library_processor(mark, vocab_size) for mark in marks]
    cuts = [rng.choice([0, 0, 20]) for _ in marks]
    rows = [
        make_row(
            make_request(
                [rng.randrange(vocab_size) for _ in range(rng.randint(1, 3))],
                watermarking_config=mark,
                do_sample=True,
                top_k=cut,
            ),
            [],
        )
        for mark, cut in zip(marks, cuts, strict=True)
    ]
    for _ in range(NUM_STEPS):
        logits = torch.randn(len(rows), vocab_size, generator=torch.Generator().manual_seed(rng.randrange(2**31))) * 3
        if rng.random() < 0.3:
            logits = logits.round()  # ties
        ours = process(pipeline, rows, logits)
        for row, processor, cut, own, scores in zip(rows, theirs, cuts, ours, logits, strict=True):
            kept = scores[None].clone()
            if cut:
                kept = kept.masked_fill(kept < kept.topk(cut).values[:, -1:], -torch.inf)
            assert torch.equal(own, expected(processor, row.sequence, kept))
            row.sequence.token_ids.append(rng.randrange(4))  # few different tokens, so that contexts repeat


def expected(processor: Any, sequence: Sequence, scores: torch.Tensor) -> torch.Tensor:
    """The library fails where none of the 40 best tokens is green; then there is nothing to add."""
    try:
        marked: torch.Tensor = processor(torch.tensor([sequence.token_ids]), scores)[0]
    except IndexError:
        return scores[0]
    return marked


@pytest.mark.parametrize("mark", [LEFTHASH, LEFTHASH | {"seeding_scheme": "selfhash", "context_width": 3}, SYNTHID])
def test_a_row_depends_on_its_tokens_alone(mark: dict[str, Any]) -> None:
    """Forks, sequences cut back, repeated calls and views of the same tokens all give the same scores."""
    pipeline, rng = make_pipeline(60), random.Random(3)
    request = make_request([5, 9], watermarking_config=mark)
    tokens = [rng.randrange(60) for _ in range(12)]
    logits = torch.randn(1, 60, generator=torch.Generator().manual_seed(1))
    sequence = Sequence([5, 9], num_prompt=2)
    process(pipeline, [Row(request, sequence)], logits)
    for length in (1, 5, 5, 2, 3, 12, 0, 7):
        sequence.token_ids[2:] = tokens[:length]
        fresh = make_row(request, tokens[:length])
        fork = sequence.fork()
        scores = pipeline.process([Row(request, sequence), fresh, Row(request, fork)], logits.expand(3, -1))
        assert torch.equal(scores[0], scores[1])
        assert torch.equal(scores[2], scores[1])


def test_neighbours_do_not_matter() -> None:
    pipeline, rng = make_pipeline(2000), random.Random(9)
    rows = [
        make_row(make_request([rng.randrange(2000)], watermarking_config=random_mark(rng)), [3] * index)
        for index in range(8)
    ]
    logits = torch.randn(8, 2000, generator=torch.Generator().manual_seed(4)) * 3
    together = process(pipeline, rows, logits)
    for place, row in enumerate(rows):
        assert torch.equal(together[place], process(pipeline, [row], logits[place : place + 1])[0])


def test_a_context_that_is_too_short_is_not_marked() -> None:
    pipeline, logits = make_pipeline(50), torch.zeros(1, 50)
    request = make_request([1, 2], watermarking_config={"context_width": 3})
    assert torch.equal(process(pipeline, [make_row(request, [])], logits), logits)
    assert not torch.equal(process(pipeline, [make_row(request, [4])], logits), logits)


def test_a_name_stands_for_its_watermark() -> None:
    mark = WatermarkingConfig(hashing_key=99, bias=4.0)
    pipeline = Pipeline(50, Registry({}, {}), CPU, profiles={"house": Profile(mark)})
    logits = torch.zeros(3, 50)
    rows = [
        make_row(make_request([7], watermarking_config=given), []) for given in ("house", mark.model_dump(), "none")
    ]
    scores = process(pipeline, rows, logits)
    assert torch.equal(scores[0], scores[1])
    assert int((scores[0] == 4).sum()) == int(50 * 0.25)
    assert torch.equal(scores[2], logits[2])
