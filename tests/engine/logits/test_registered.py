"""Registered processors: named by requests, called as in transformers, kept apart from their neighbours."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.engine.link.messages import Named
from beamhouse.engine.logits.registered.registry import Registry
from tests.engine.logits.scoring import byte_tokenizer, bytes_of, make_pipeline, make_request, make_row, process

VOCAB = 40


class Add:
    def __init__(self, amount: float, token: int = 0) -> None:
        self.amount = amount
        self.token = token

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        assert input_ids.shape == (1, 3)
        scores[0, self.token] += self.amount  # in place, as many do
        return scores


class Raise:
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        raise KeyError("what")


class Shorten:
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores[:, :-1]


class WantsModel:
    def __call__(self, input_ids: Tensor, scores: Tensor, model: Any) -> Tensor:
        return scores


KNOWN: dict[str, type] = {"add": Add, "raise": Raise, "shorten": Shorten, "temperature": TemperatureLogitsWarper}


def scores_of(named: list[Named], **fields: Any) -> Tensor:
    request = make_request([1, 2], named=named, **fields)
    return process(make_pipeline(VOCAB, Registry(KNOWN, {})), [make_row(request, [3])], torch.ones(1, VOCAB))


def test_named_processors_run_in_their_order_before_the_warpers() -> None:
    named = [Named("add", {"amount": 2.0}), Named("temperature", {"temperature": 2.0})]
    assert scores_of(named)[0, 0].item() == 1.5
    assert scores_of(named[::-1])[0, 0].item() == 2.5
    assert scores_of(named[:1], do_sample=True, temperature=0.5)[0, 0].item() == 6.0


@pytest.mark.parametrize("name", ["raise", "shorten"])
def test_a_failing_processor_fails_its_own_request_only(name: str) -> None:
    failing = make_row(make_request([1, 2], named=[Named(name)], remove_invalid_values=True), [3])
    healthy = make_row(make_request([1, 2], named=[Named("add", {"amount": 1.0})]), [3])
    logits = torch.ones(2, VOCAB)
    scores = process(make_pipeline(VOCAB, Registry(KNOWN, {})), [failing, healthy], logits)
    assert name in str(failing.request.failure)
    assert healthy.request.failure is None
    assert scores[1, 0].item() == 2.0
    assert torch.equal(logits, torch.ones(2, VOCAB))


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (Named("add"), "add: TypeError"),
        (Named("temperature", {"temperature": -1.0}), "temperature: ValueError"),
        (Named("add", {"amount": 1.0, "other": 2}), "add: TypeError"),
    ],
)
def test_bad_arguments_are_refused(named: Named, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        scores_of([named])
    assert caught.value.problems[0].field == "logits_processor"
    assert words in caught.value.problems[0].message


def test_a_library_class_whose_field_is_set_too_is_refused() -> None:
    named = [Named("temperature", {"temperature": 2.0})]
    with pytest.raises(InvalidRequest, match="asks for already"):
        scores_of(named, do_sample=True, temperature=0.5)


def test_classes_are_loaded_by_path_and_by_name() -> None:
    path = "transformers:TopKLogitsWarper"
    registry = Registry.load([path, f"best={path}"], ["transformers:MaxLengthCriteria"])
    assert {"TopKLogitsWarper", "best", "block_characters", "force_prefix"} <= set(registry.logits_processors)
    assert "MaxLengthCriteria" in registry.stopping_criteria


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("transformers", "form module:Class"),
        ("transformers:Nothing", "cannot be imported"),
        ("nowhere_at_all:Nothing", "cannot be imported"),
        ("transformers:set_seed", "not a class"),
        (f"{__name__}:WantsModel", "more than tokens and scores: model"),
        ("force_prefix=transformers:TopKLogitsWarper", "registered twice"),
    ],
)
def test_what_cannot_be_registered_stops_the_start(path: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, __name__, __import__("types").SimpleNamespace(WantsModel=WantsModel))
    with pytest.raises(ValueError, match=words):
        Registry.load([path])


def test_force_prefix_begins_the_text_and_then_lets_go() -> None:
    request = make_request([1, 2], named=[Named("force_prefix", {"token_ids": [5, 6]})])
    pipeline = make_pipeline(VOCAB, Registry.load())
    for generated, forced in (([], 5), ([5], 6)):
        scores = process(pipeline, [make_row(request, generated)], torch.zeros(1, VOCAB))
        assert scores[0].isfinite().nonzero().flatten().tolist() == [forced]
    assert process(pipeline, [make_row(request, [5, 6])], torch.zeros(1, VOCAB)).isfinite().all()


@pytest.mark.parametrize("args", [{"token_ids": [VOCAB]}, {"token_ids": []}, {"token_ids": [1], "prompt_len": 0}])
def test_force_prefix_refuses_what_it_cannot_force(args: dict[str, Any]) -> None:
    request = make_request([1, 2], named=[Named("force_prefix", args)])
    with pytest.raises(InvalidRequest, match="force_prefix"):
        make_pipeline(VOCAB, Registry.load()).prepare(request)


@pytest.mark.parametrize(
    ("args", "text", "is_allowed"),
    [
        ({"deny": ["a-z"]}, "a", False),
        ({"deny": ["a-z"]}, "A", True),
        ({"allow": ["a-z", "-"]}, "-", True),
        ({"allow": ["a-z"]}, "A", False),
        ({"allow": ["a-z"], "deny": ["q"]}, "q", False),
        ({"deny": ["]"]}, "]", False),
    ],
)
def test_block_characters_bans_tokens_by_their_text(args: dict[str, Any], text: str, is_allowed: bool) -> None:
    tokenizer = byte_tokenizer()
    num_tokens = tokenizer.get_vocab_size()
    pipeline = make_pipeline(num_tokens + 3, Registry.load(token_bytes=bytes_of(tokenizer)))
    request = make_request([1], (0,), named=[Named("block_characters", args)])
    scores = process(pipeline, [make_row(request, [])], torch.zeros(1, num_tokens + 3))[0]
    assert scores[tokenizer.token_to_id(text)].isfinite().item() is is_allowed
    assert scores[0].isfinite()  # the end token
    assert scores[num_tokens:].isneginf().all()
    assert scores[tokenizer.token_to_id("\u00c3")].isneginf()  # half a character


@pytest.mark.parametrize("args", [{}, {"deny": ["z-a"]}, {"deny": ["abc"]}, {"allow": [""]}, {"deny": [1]}])
def test_block_characters_refuses_bad_ranges(args: dict[str, Any]) -> None:
    request = make_request([1], named=[Named("block_characters", args)])
    with pytest.raises(InvalidRequest, match="block_characters"):
        make_pipeline(VOCAB, Registry.load(token_bytes=[b"a"])).prepare(request)


def test_block_characters_needs_a_tokenizer() -> None:
    request = make_request([1], named=[Named("block_characters", {"deny": ["a"]})])
    with pytest.raises(InvalidRequest, match="no tokenizer"):
        make_pipeline(VOCAB, Registry.load()).prepare(request)
