"""The one judge: what is refused, by the name of its field, whoever asks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from beamhouse.config.settings import Settings
from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.bounds import MAX_IDS
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.resolution import resolve_unread
from beamhouse.schemas.generation.resolved import Resolved
from beamhouse.schemas.judge.asked import Asked, Budget, Facts, Limits, NegativePrompt, Prompt
from beamhouse.schemas.judge.judge import problems
from beamhouse.schemas.problems import Problem
from beamhouse.server.service import budget_of
from tests.fakes import fake_info

INFO = fake_info("tokenizer.json", watermarks=["house"])
FACTS = Facts(INFO, budget_of(Settings()), GenerationConfig(eos_token_id=1), ["house"])


def judged(
    config: Mapping[str, Any], body: Mapping[str, Any], prompt: Prompt | None = None, facts: Facts = FACTS
) -> list[Problem]:
    own, request = GenerationConfig(**config), GenerateRequest.model_validate(body)
    resolved = Resolved.of(GenerationConfig(**{"max_length": 20} | dict(config)), request.assistant_model)
    return problems(Asked(request, own, [resolved], [prompt or Prompt([3, 4], "inputs")]), facts)


@pytest.mark.parametrize(
    ("config", "body", "field"),
    [
        ({"do_sample": True, "num_return_sequences": 9}, {}, "num_return_sequences"),
        ({"num_beams": 7}, {}, "num_beams"),
        ({"num_beams": 5, "guidance_scale": 2.0}, {}, "num_beams"),
        ({"top_k": 9, "penalty_alpha": 0.5}, {}, "top_k"),
        ({"dola_layers": [2]}, {}, "dola_layers"),
        ({"dola_layers": [0, 7]}, {}, "dola_layers"),
        ({"assistant_early_exit": 3}, {}, "assistant_early_exit"),
        ({"prompt_lookup_num_tokens": 4}, {"assistant_model": "draft"}, "prompt_lookup_num_tokens"),
        ({"prompt_lookup_num_tokens": 4, "assistant_ensemble_weight": 0.5}, {}, "assistant_ensemble_weight"),
        ({"sequence_bias": [([1, 256], 1.0)]}, {}, "sequence_bias"),
        ({"bad_words_ids": [[256]]}, {}, "bad_words_ids"),
        ({"forced_bos_token_id": 256}, {}, "forced_bos_token_id"),
        ({"forced_eos_token_id": [1, 256]}, {}, "forced_eos_token_id"),
        ({"exponential_decay_length_penalty": (1, 1.1)}, {}, "exponential_decay_length_penalty"),
        ({"exponential_decay_length_penalty": (1, 1.1), "eos_token_id": 256}, {}, "eos_token_id"),
        ({"watermarking_config": "garden"}, {}, "watermarking_config"),
        ({"use_mtp": True}, {}, "use_mtp"),
    ],
)
def test_what_a_configuration_cannot_ask_is_refused_by_name(config: dict[str, Any], body: dict[str, Any], field: str):
    assert f"generation_config.{field}" in {problem.field for problem in judged(config, body)}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"assistant_model": "nobody"}, "assistant_model"),
        ({"logits_processor": [{"name": "no_repeat_words"}, {"name": "missing"}]}, "logits_processor.1.name"),
        ({"stopping_criteria": [{"name": "missing"}]}, "stopping_criteria.0.name"),
        ({"prefix_allowed_tokens": {"trie": "titles"}}, "prefix_allowed_tokens.trie"),
        ({"prefix_allowed_tokens": {"token_ids": [1, 256]}}, "prefix_allowed_tokens.token_ids.1"),
        ({"prefix_allowed_tokens": {"sequences": [[1], [1, 256]]}}, "prefix_allowed_tokens.sequences.1.1"),
        ({"prefix_allowed_tokens": {"sequences": [[1], []]}}, "prefix_allowed_tokens.sequences.1"),
        ({"outputs": {"progress": True}, "stream": True}, "outputs.progress"),
        ({"outputs": {"watermark_flags": True}}, "outputs.watermark_flags"),
        ({"mode": "sample"}, "mode"),
    ],
)
def test_what_a_body_cannot_ask_is_refused_by_name(body: dict[str, Any], field: str):
    assert [problem.field for problem in judged({}, body)] == [field]


@pytest.mark.parametrize(
    ("config", "body", "field"),
    [
        ({}, {"mode": "greedy_search"}, "mode"),
        ({}, {"assistant_model": "draft"}, "assistant_model"),
        ({}, {"prefix_allowed_tokens": {"token_ids": [1]}}, "prefix_allowed_tokens"),
        ({}, {"logits_processor": [{"name": "no_repeat_words"}]}, "logits_processor"),
        ({}, {"fill_context": True}, "fill_context"),
        ({}, {"outputs": {"top_n_tokens": 2}}, "outputs.top_n_tokens"),
        ({}, {"outputs": {"transition_scores": True}}, "outputs.transition_scores"),
        ({}, {"outputs": {"config": True}}, "outputs.config"),
        ({"max_new_tokens": 1}, {}, "generation_config.max_new_tokens"),
        ({"min_length": 5}, {}, "generation_config.min_length"),
        ({"token_healing": True}, {}, "generation_config.token_healing"),
        ({"output_logits": True}, {}, "generation_config.output_logits"),
    ],
)
def test_what_asks_for_new_tokens_is_refused_beside_a_prompt_alone(
    config: dict[str, Any], body: dict[str, Any], field: str
):
    outputs = {"prompt_only": True, "prompt_logprobs": True} | body.get("outputs", {})
    own, request = GenerationConfig(**config), GenerateRequest.model_validate(body | {"outputs": outputs})
    asked = Asked(request, own, [resolve_unread(own, 2)], [Prompt([3, 4], "inputs")])
    assert [problem.field for problem in problems(asked, FACTS)] == [field]


@pytest.mark.parametrize(
    ("config", "body", "field"),
    [
        ({"stop_strings": "a"}, {}, "generation_config.stop_strings"),
        ({"token_healing": True}, {}, "generation_config.token_healing"),
        ({}, {"prefix_allowed_tokens": {"regex": "a"}}, "prefix_allowed_tokens"),
    ],
)
def test_text_is_refused_without_a_tokenizer(config: dict[str, Any], body: dict[str, Any], field: str):
    mute = replace(FACTS, info=fake_info(None))
    assert [problem.field for problem in judged(config, body, facts=mute)] == [field]


@pytest.mark.parametrize("given", [{"token_ids": [1] * (MAX_IDS + 1)}, {"sequences": [[1] * MAX_IDS, [1]]}])
def test_a_constraint_of_too_many_ids_is_refused(given: dict[str, Any]):
    problem = judged({}, {"prefix_allowed_tokens": given})[0]
    assert (problem.field, problem.code) == ("prefix_allowed_tokens", "out_of_range")


def test_a_prompt_is_judged_with_its_negative():
    prompt = Prompt([3, 300], "inputs.1", NegativePrompt([5] * 200, "negative_prompt"))
    fields = [problem.field for problem in judged({}, {}, prompt)]
    assert fields == ["negative_prompt", "negative_prompt", "inputs.1.1"]


def test_what_is_impossible_is_not_asked_what_it_would_cost():
    poor = replace(FACTS, budget=Budget(1, 1, 1, 1))
    assert [problem.field for problem in judged({}, {}, facts=poor)] == ["generation_config.max_length"]
    assert [problem.field for problem in judged({}, {"mode": "sample"}, facts=poor)] == ["mode"]


def test_a_request_that_can_be_obeyed_has_no_problems():
    everything = {"num_beams": 4, "num_return_sequences": 4, "watermarking_config": "house", "output_scores": True}
    body = {"logits_processor": [{"name": "no_repeat_words"}], "prefix_allowed_tokens": {"trie": "cities"}}
    assert judged(everything, body) == []


@pytest.mark.parametrize(
    ("limits", "config", "body", "field"),
    [
        (Limits(max_sequences=2), {"do_sample": True, "num_return_sequences": 3}, {}, "num_return_sequences"),
        (Limits(max_sequences=2), {}, {"copies": 3}, "copies"),
        (Limits(max_stop_strings=1), {"stop_strings": ["a", "b"]}, {}, "stop_strings"),
        (Limits(max_stop_strings=0), {"stop_strings": "a"}, {}, "stop_strings"),
        (Limits(max_top_tokens=5), {}, {"outputs": {"top_n_tokens": 6}}, "top_n_tokens"),
        (Limits(max_top_tokens=5), {}, {"outputs": {"prompt_top_n_tokens": 6}}, "prompt_top_n_tokens"),
        (Limits(max_prompt_tokens=1), {}, {}, "inputs"),
        (Limits(max_total_tokens=19), {}, {}, "max_length"),
        (Limits(max_total_tokens=2), {}, {}, "inputs"),
    ],
)
def test_what_the_operator_does_not_allow_is_refused_by_name(
    limits: Limits, config: dict[str, Any], body: dict[str, Any], field: str
):
    found = [problem.field.rpartition(".")[2] for problem in judged(config, body, facts=replace(FACTS, limits=limits))]
    assert found == [field]
    assert judged(config, body) == []
