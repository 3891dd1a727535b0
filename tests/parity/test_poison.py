"""Keys and values that are no numbers, or infinite, stay with the request that has them: nobody else reads a trace."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch.nn import Module

from beamhouse.engine.build import Extensions, assemble
from beamhouse.engine.link.messages import Submission
from beamhouse.engine.loading.draft_models import Assistant
from beamhouse.engine.logits.registered.registry import Registry
from beamhouse.engine.loop.engine import Engine
from tests.fuzz.requests import DRAFT
from tests.parity.drafting import draft_model
from tests.parity.models import served
from tests.parity.running import SETTINGS, Answer, alone, run, submission

POISON = 77
"""The token whose keys and values are no numbers, or infinite."""

FAMILIES = ("qwen3", "gemma2", "mistral")
BACKENDS = pytest.mark.parametrize("kernels", ["auto", "torch"])


def poisoned(model: Any, number: float) -> Any:  # Any: a transformers model
    """The model with one token whose embedding is no number, or whose values in the first layer are infinite."""
    embedding = model.get_input_embeddings().weight
    with torch.no_grad():
        if number != number:
            embedding[POISON] = number
            return model
        # Nothing but this token has anything in the first dimension, which overflows as it becomes a value.
        embedding[:, 0] = 0
        embedding[POISON] = torch.eye(len(embedding[0]))[0]
        layer: Module = model.get_decoder().layers[0]
        layer.self_attn.v_proj.weight[:, 0] = 3e38  # type: ignore[union-attr, index]
    return model


def engine_of(family: str, kernels: str, number: float, draft: Any = None, **settings: Any) -> Engine:
    changed = SETTINGS.model_copy(update={"kernels": kernels, **settings})
    assistants = {} if draft is None else {DRAFT: Assistant(draft)}
    return assemble(poisoned(served(family), number), changed, Extensions(Registry({}, {}), {}, assistants=assistants))[
        1
    ]


@cache
def roomy(family: str, kernels: str, number: float) -> Engine:
    """Sees healthy requests alone."""
    return engine_of(family, kernels, number, prefix_caching=False)


def asked(family: str, prompt_ids: list[int], **fields: Any) -> Submission:
    fields = {"max_new_tokens": 12, "suppress_tokens": [POISON], "eos_token_id": None} | fields
    outside = {"assistant_model": fields.pop("assistant_model", None)}
    return submission(family, prompt_ids, fields, seed=3, **outside)


def assert_as_alone(family: str, kernels: str, number: float, one: Submission, answer: Answer) -> None:
    assert answer.finished is not None
    assert answer.finished.error is None
    assert answer.sequences == alone(roomy(family, kernels, number), one).sequences


@BACKENDS
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_who_takes_the_blocks_of_a_poisoned_request_is_well(family: str, kernels: str, number: float) -> None:
    engine = engine_of(family, kernels, number, cache_tokens=8 * 16, prefix_caching=False)
    for _ in range(2):
        answers = run(engine, {0: [asked(family, [POISON] * 15) for _ in range(4)]})
        assert {one.finished and one.finished.error_code for one in answers.values()} == {"request_failed"}
        healthy = [asked(family, [5, 6, 7, 8 + number]) for number in range(3)] + [asked(family, list(range(11, 41)))]
        found = run(engine, {0: healthy})
        for one in healthy:
            assert_as_alone(family, kernels, number, one, found[one.request_id])


@BACKENDS
@pytest.mark.parametrize("family", FAMILIES)
def test_who_runs_beside_a_poisoned_request_is_well(family: str, kernels: str) -> None:
    engine = engine_of(family, kernels, torch.nan, step_tokens=16, max_rows=16, cache_tokens=16 * 32)
    ill = [
        asked(family, [POISON] * 33, remove_invalid_values=True, max_new_tokens=30),
        asked(family, [9] * 40 + [POISON] * 60),
    ]
    healthy = [asked(family, [5, 6, 7 + number], do_sample=number > 1, max_new_tokens=20) for number in range(4)]
    found = run(engine, {0: ill[:1], 1: healthy[:2], 4: ill[1:], 6: healthy[2:]})
    for one in healthy:
        assert_as_alone(family, kernels, torch.nan, one, found[one.request_id])


@BACKENDS
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_copy_of_a_block_is_well_up_to_where_it_is_poisoned(family: str, kernels: str, number: float) -> None:
    engine = engine_of(family, kernels, number)
    run(engine, {0: [asked(family, [*range(20, 28), *[POISON] * 12])]})
    one = asked(family, [*range(20, 28), 5])
    answer = run(engine, {0: [one]})[one.request_id]
    assert_as_alone(family, kernels, number, one, answer)
    assert answer.finished is not None
    assert answer.finished.cached_prompt_tokens == 8


@BACKENDS
def test_a_poisoned_draft_that_is_not_confirmed_leaves_nothing_behind(kernels: str) -> None:
    family, draft = "qwen3", copy.deepcopy(draft_model("qwen3"))
    with torch.no_grad():
        draft.get_output_embeddings().weight.mul_(0)
        draft.get_output_embeddings().weight[POISON] = 1.0
    engine = engine_of(family, kernels, torch.nan, draft)
    drafted = 0
    for start in range(3, 15):
        fields = {"num_assistant_tokens": 5, "assistant_confidence_threshold": 0.0, "suppress_tokens": None}
        one = asked(family, [start, start + 1], **fields, assistant_model=DRAFT)
        answer = alone(engine, one)
        plain = alone(roomy(family, kernels, torch.nan), asked(family, [start, start + 1], suppress_tokens=None))
        if POISON not in plain.sequences[0]:
            assert answer.sequences == plain.sequences
            drafted += answer.finished.drafted_tokens if answer.finished else 0
    assert drafted


@BACKENDS
def test_a_draft_model_that_is_poisoned_drafts_for_the_others_as_before(kernels: str) -> None:
    draft = poisoned(copy.deepcopy(draft_model("qwen3")), torch.nan)
    fields = {"num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0, "assistant_model": DRAFT}
    settings = {"cache_tokens": 4 * 16, "prefix_caching": False}

    def drafted(prompts: list[list[int]]) -> Answer:
        engine = engine_of("qwen3", kernels, torch.nan, copy.deepcopy(draft), **settings)
        answers = [alone(engine, asked("qwen3", prompt_ids, **fields)) for prompt_ids in prompts]
        return answers[-1]

    after, first = drafted([[POISON] * 20, [POISON] * 20, [5, 6, 7]]), drafted([[5, 6, 7]])
    assert after.finished is not None
    assert first.finished is not None
    assert after.sequences == first.sequences
    assert after.finished.accepted_tokens == first.finished.accepted_tokens > 0
