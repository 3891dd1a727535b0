"""The detectors against those of the library."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BayesianDetectorConfig, BayesianDetectorModel, SynthIDTextWatermarkDetector

from beamhouse.engine.watermark.bayesian import BayesianWeights
from beamhouse.engine.watermark.detection import (
    TooShort,
    green_flags,
    score_green_lists,
    score_synthid,
    synthid_flags,
)
from beamhouse.schemas.generation.watermarking import SynthIDTextWatermarkingConfig, WatermarkingConfig
from tests.engine.watermark.marks import library_detector, library_processor, random_green_list, random_synthid

VOCAB_SIZE = 500
EOS = 499


def random_text(rng: random.Random, length: int, most: int = VOCAB_SIZE - 1) -> list[int]:
    return [rng.randrange(2, most) for _ in range(length)]


def detector_of(depth: int) -> BayesianDetectorModel:
    """One with random weights."""
    torch.manual_seed(depth)
    model = BayesianDetectorModel(BayesianDetectorConfig(watermarking_depth=depth, base_rate=0.3))
    with torch.no_grad():
        model.likelihood_model_watermarked.delta.normal_(0, 0.5)
        model.likelihood_model_watermarked.beta.normal_(-1, 0.5)
    return model.eval()


@pytest.mark.parametrize("ignore_repeated_ngrams", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_green_lists_are_found_as_the_library_finds_them(seed: int, ignore_repeated_ngrams: bool) -> None:
    rng = random.Random(seed)
    mark = random_green_list(rng)
    # Few different tokens, so that n-grams repeat; some texts begin with a start token.
    text = [1] * rng.randint(0, 1) + random_text(rng, rng.randint(8, 60), rng.choice([5, 450]))
    theirs = library_detector(mark, VOCAB_SIZE, ignore_repeated_ngrams=ignore_repeated_ngrams)
    expected = theirs(torch.tensor([text]), return_dict=True)
    ours = score_green_lists(mark, VOCAB_SIZE, text, 1, ignore_repeated_ngrams)
    assert (ours.num_tokens_scored, ours.num_green_tokens) == (
        expected.num_tokens_scored[0],
        expected.num_green_tokens[0],
    )
    for name in ("green_fraction", "z_score", "p_value"):
        assert getattr(ours, name) == pytest.approx(getattr(expected, name)[0], abs=1e-6)
    assert len(ours.flags) == len(text)
    assert ours.flags.count(True) == ours.num_green_tokens
    assert sum(flag is not None for flag in ours.flags) == ours.num_tokens_scored


@pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
def test_a_text_without_a_whole_context_is_too_short(scheme: str) -> None:
    mark = WatermarkingConfig(seeding_scheme=scheme, context_width=3)
    score_green_lists(mark, VOCAB_SIZE, [1, 5, 6, 7, 8], 1)
    with pytest.raises(TooShort, match="at least 4 tokens"):
        score_green_lists(mark, VOCAB_SIZE, [1, 5, 6, 7], 1)


@pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
@pytest.mark.parametrize("num_prompt", [1, 2, 5])
def test_flags_say_what_the_processor_did(scheme: str, num_prompt: int) -> None:
    rng = random.Random(num_prompt)
    mark = WatermarkingConfig(seeding_scheme=scheme, context_width=3, greenlist_ratio=0.5, hashing_key=12)
    prompt, generated = random_text(rng, num_prompt), random_text(rng, 20)
    processor = library_processor(mark, VOCAB_SIZE)
    expected: list[bool | None] = []
    for place, token in enumerate(generated):
        context = torch.tensor([*prompt, *generated[:place]])
        if len(context) < 3:
            expected.append(None)
            continue
        seeding = torch.cat([context, torch.tensor([token])]) if scheme == "selfhash" else context
        expected.append(token in processor._get_greenlist_ids(seeding))
    assert green_flags(mark, VOCAB_SIZE, prompt, generated) == expected


@pytest.mark.parametrize("seed", range(10))
def test_synthid_is_found_as_the_library_finds_it(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    mark = random_synthid(rng)
    text = random_text(rng, rng.randint(20, 60), rng.choice([5, 450]))
    if rng.random() < 0.5:
        text[-4:-3] = [EOS]
    model, processor = detector_of(len(mark.keys)), library_processor(mark, VOCAB_SIZE)
    model.save_pretrained(tmp_path)
    weights = BayesianWeights.load(tmp_path / "model.safetensors", len(mark.keys))
    ids = torch.tensor([text])
    kept = processor.compute_eos_token_mask(ids, EOS)[:, mark.ngram_len - 1 :]
    mask = (processor.compute_context_repetition_mask(ids) * kept)[0].bool()
    bits = processor.compute_g_values(ids)[0]
    ours = score_synthid(mark, text, (EOS,), weights)
    assert ours.mask.tolist() == mask.tolist()
    assert ours.bits.tolist() == bits.tolist()
    assert ours.mean == pytest.approx(bits[mask].double().mean().item(), abs=1e-9)
    layers = torch.linspace(10, 1, len(mark.keys), dtype=torch.float64)
    weighted = (bits[mask].double() * (layers / layers.sum())).sum(-1).mean().item()
    assert ours.weighted_mean == pytest.approx(weighted, abs=1e-9)
    detector = SynthIDTextWatermarkDetector(model, processor, Tokenizer())
    with torch.inference_mode():
        expected = detector(ids)[0].item()
    assert ours.posterior == pytest.approx(expected, abs=1e-6)
    assert len(ours.flags) == len(text)
    assert sum(flag is not None for flag in ours.flags) == ours.num_tokens_scored


class Tokenizer:
    """What the library's detector asks of one."""

    eos_token_id = EOS


def test_weights_may_be_json(tmp_path: Path) -> None:
    model = detector_of(4)
    tensors = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    (tmp_path / "weights.json").write_text(json.dumps(tensors), encoding="utf-8")
    model.save_pretrained(tmp_path)
    one = BayesianWeights.load(tmp_path / "weights.json", 4)
    other = BayesianWeights.load(tmp_path / "model.safetensors", 4)
    assert np.array_equal(one.delta, other.delta)
    assert (one.prior, one.beta.tolist()) == (other.prior, other.beta.tolist())


def test_no_token_before_an_end_token_is_too_short() -> None:
    mark = SynthIDTextWatermarkingConfig(ngram_len=3, keys=[1])
    with pytest.raises(TooShort, match="at least 3 tokens, before any end token"):
        score_synthid(mark, [5, 6, EOS, 7, 8, 9], (EOS,))


@pytest.mark.parametrize("skips", [False, True])
def test_synthid_flags_begin_with_the_first_marked_token(skips: bool) -> None:
    mark = SynthIDTextWatermarkingConfig(ngram_len=3, keys=[1, 2, 3], skip_first_ngram_calls=skips)
    flags = synthid_flags(mark, [5, 6, 7, 5, 6, 8])
    # The last token has the context 5, 6, which was there before.
    assert [flag is None for flag in flags] == [skips, skips, False, False, False, True]
