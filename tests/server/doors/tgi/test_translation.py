"""What each field of TGI's bodies means, as the native request that the body becomes."""

from typing import Any

import pytest
from pydantic import ValidationError

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.schemas.beamhouse.generate import Beside, GenerateRequest
from beamhouse.schemas.generation.fields import GenerationFields
from beamhouse.schemas.generation.modes import GenerationMode
from beamhouse.schemas.tgi.requests import Parameters, TgiRequest
from beamhouse.server.doors.tgi.translation import Door, translate_generation

SEED = 4711
DOOR = Door("house", lambda: SEED)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
SEARCH = {"num_beams": 4, "num_return_sequences": 2}
GREEDY = {"do_sample": False, "repetition_penalty": 1.0}
FROM_ALL = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "typical_p": 1.0}
DRAWN = {"generation_config": {"do_sample": True, "repetition_penalty": 1.0, **FROM_ALL}, "seed": SEED}


def native(parameters: dict[str, Any] | None, **beside: Any) -> GenerateRequest:
    body = {"inputs": "Once", **({} if parameters is None else {"parameters": parameters}), **beside}
    return translate_generation(TgiRequest.model_validate(body), DOOR)


def becomes(**asked: Any) -> dict[str, Any]:
    """A native request, by default the one of empty `parameters`, with these changes; None takes something out."""
    config = {**GREEDY, **asked.pop("generation_config", {})}
    whole = {"inputs": "Once", "fill_context": True, **asked, "generation_config": config}
    return {name: value for name, value in whole.items() if value is not None}


def drawn(**config: Any) -> dict[str, Any]:
    """The one of an empty `parameters` that draws, with these changes of its configuration."""
    return becomes(**{**DRAWN, "generation_config": {**DRAWN["generation_config"], **config}})


def said(request: GenerateRequest) -> dict[str, Any]:
    return request.model_dump(exclude_none=True)


TABLE: list[tuple[dict[str, Any] | None, dict[str, Any]]] = [
    (None, becomes(**DRAWN)),
    ({}, becomes()),
    (dict.fromkeys(Parameters.model_fields), becomes()),
    ({"do_sample": False}, becomes()),
    ({"do_sample": True}, becomes(**DRAWN)),
    ({"do_sample": True, "seed": 7}, becomes(**{**DRAWN, "seed": 7})),
    ({"seed": 7}, becomes(seed=7)),
    ({"temperature": 1.0}, becomes(generation_config={"temperature": 1.0})),
    *(
        (
            {name: value, "do_sample": False},
            drawn(**{name: value}),
        )
        for name, value in {"temperature": 0.5, "top_k": 7, "top_p": 0.9, "typical_p": 0.9, "min_p": 0.1}.items()
    ),
    ({"max_new_tokens": 5}, becomes(fill_context=None, generation_config={"max_new_tokens": 5})),
    ({"max_length": 50}, becomes(fill_context=None, generation_config={"max_length": 50})),
    ({"repetition_penalty": 1.2}, becomes(generation_config={"repetition_penalty": 1.2})),
    ({"frequency_penalty": 0.5}, becomes(generation_config={"frequency_penalty": 0.5})),
    ({"stop": ["\n", "END"]}, becomes(generation_config={"stop_strings": ["\n", "END"]})),
    ({"stop": []}, becomes()),
    ({"truncate": 9}, becomes(truncate=9)),
    ({"return_full_text": True}, becomes()),
    ({"adapter_id": None}, becomes()),
    ({"watermark": True}, becomes(generation_config={"watermarking_config": "house"})),
    ({"watermark": False}, becomes()),
    ({"details": True}, becomes(outputs={"transition_scores": True})),
    ({"decoder_input_details": True}, becomes(outputs={"transition_scores": True, "prompt_logprobs": True})),
    ({"top_n_tokens": 3}, becomes(outputs={"top_n_tokens": 3})),
    ({"top_n_tokens": 0}, becomes()),
    (
        {"best_of": 2, "do_sample": True},
        becomes(**DRAWN, copies=2, outputs={"transition_scores": True}),
    ),
    ({"best_of": 1}, becomes()),
    ({"grammar": {"type": "json", "value": SCHEMA}}, becomes(prefix_allowed_tokens={"json_schema": SCHEMA})),
    ({"grammar": {"type": "json_object", "value": SCHEMA}}, becomes(prefix_allowed_tokens={"json_schema": SCHEMA})),
    (
        {"grammar": {"type": "json", "value": '{"type": "object"}'}},
        becomes(prefix_allowed_tokens={"json_schema": {"type": "object"}}),
    ),
    (
        {"grammar": {"type": "json_schema", "value": {"name": "a", "schema": SCHEMA}}},
        becomes(prefix_allowed_tokens={"json_schema": SCHEMA}),
    ),
    ({"grammar": {"type": "regex", "value": "a+"}}, becomes(prefix_allowed_tokens={"regex": "a+"})),
    # What TGI has no word for.
    (
        {"num_beams": 4, "num_return_sequences": 2},
        becomes(generation_config={"num_beams": 4, "num_return_sequences": 2}),
    ),
    ({"penalty_alpha": 0.6, "top_k": 4}, becomes(generation_config={"penalty_alpha": 0.6, "top_k": 4})),
    ({"dola_layers": "low"}, becomes(generation_config={"dola_layers": "low"})),
    ({"assistant_model": "draft"}, becomes(assistant_model="draft")),
    (
        {"negative_prompt": "no", "guidance_scale": 2.0},
        becomes(negative_prompt="no", generation_config={"guidance_scale": 2.0}),
    ),
    (
        {"outputs": {"prompt_only": True}, "decoder_input_details": True},
        becomes(fill_context=None, outputs={"prompt_only": True, "prompt_logprobs": True}),
    ),
    ({"outputs": {"config": True}}, becomes(outputs={"config": True})),
    ({"deadline_s": 2.0, "priority": 1, "cache_salt": "x"}, becomes(deadline_s=2.0, priority=1, cache_salt="x")),
    ({"generation_config": {"num_beams": 2}}, becomes(generation_config={"num_beams": 2})),
    ({"generation_config": '{"num_beams": 2}'}, becomes(generation_config={"num_beams": 2})),
    (
        {"generation_config": {"do_sample": True, "top_k": 5}},
        drawn(top_k=5),
    ),
    ({"generation_config": {"top_k": 5}}, becomes(generation_config={"top_k": 5})),
    ({"generation_config": "warm"}, {"inputs": "Once", "generation_config": "warm"}),
    ({"prefix_allowed_tokens": {"trie": "cities"}}, becomes(prefix_allowed_tokens={"trie": "cities"})),
]


@pytest.mark.parametrize(("parameters", "expected"), TABLE, ids=lambda value: str(value)[:60])
def test_a_body_becomes_this_native_request(parameters: dict[str, Any] | None, expected: dict[str, Any]):
    assert said(native(parameters)) == said(GenerateRequest.model_validate(expected))


def test_what_stands_beside_parameters_is_obeyed_and_a_stream_has_log_probabilities():
    scored = becomes(stream=True, outputs={"transition_scores": True})
    assert said(native({}, stream=True)) == said(GenerateRequest.model_validate(scored))
    assert said(native({}, add_special_tokens=False)) == said(
        GenerateRequest.model_validate(becomes(add_special_tokens=False))
    )
    assert said(native({}, stream=False)) == said(native({}, stream=None)) == said(native({}))


def test_a_watermark_may_be_options_as_well():
    mark = {"greenlist_ratio": 0.5, "bias": 2.0}
    body = TgiRequest.model_validate({"inputs": "Once", "parameters": {"watermark": True}})
    expected = becomes(generation_config={"watermarking_config": mark})
    assert said(translate_generation(body, Door(mark, lambda: 0))) == said(GenerateRequest.model_validate(expected))


def test_all_of_our_own_fields_may_stand_in_parameters():
    assert Parameters.model_fields.keys() >= GenerationFields.model_fields.keys() | Beside.model_fields.keys()


@pytest.mark.parametrize(
    ("parameters", "mode"),
    [
        ({}, GenerationMode.GREEDY_SEARCH),
        ({"do_sample": True}, GenerationMode.SAMPLE),
        ({"num_beams": 2}, GenerationMode.BEAM_SEARCH),
        ({"num_beams": 2, "temperature": 0.5}, GenerationMode.BEAM_SAMPLE),
        ({"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 1.0}, GenerationMode.GROUP_BEAM_SEARCH),
        ({"num_beams": 2, "force_words_ids": [[5]]}, GenerationMode.CONSTRAINED_BEAM_SEARCH),
        ({"penalty_alpha": 0.6, "top_k": 4}, GenerationMode.CONTRASTIVE_SEARCH),
        ({"dola_layers": "high"}, GenerationMode.DOLA_GENERATION),
        ({"prompt_lookup_num_tokens": 3}, GenerationMode.ASSISTED_GENERATION),
    ],
)
def test_every_mode_can_be_asked_for(parameters: dict[str, Any], mode: GenerationMode):
    config = native(parameters).generation_config
    assert not isinstance(config, str | None)
    assert config.get_generation_mode() == mode


@pytest.mark.parametrize(
    ("parameters", "beside", "field"),
    [
        ({"best_of": 2}, {}, "parameters.best_of"),
        ({"best_of": 2, "do_sample": True, "seed": 3}, {}, "parameters.best_of"),
        ({"best_of": 2, "do_sample": True}, {"stream": True}, "parameters.best_of"),
        ({"decoder_input_details": True}, {"stream": True}, "parameters.decoder_input_details"),
        ({"num_beams": 2, "num_return_sequences": 2}, {"stream": True}, "parameters.num_return_sequences"),
        ({"outputs": {"prompt_only": True}}, {"stream": True}, "parameters.outputs.prompt_only"),
        ({"num_beams": 2, "outputs": {"progress": True}}, {"stream": True}, "parameters.outputs.progress"),
        ({"grammar": {"type": "json", "value": "{"}}, {}, "parameters.grammar.value"),
        ({"grammar": {"type": "json_schema", "value": {"name": "a"}}}, {}, "parameters.grammar.value"),
        ({"grammar": {"type": "json_schema", "value": {"schema": {}, "b": 1}}}, {}, "parameters.grammar.value.b"),
        (
            {"grammar": {"type": "regex", "value": "a"}, "prefix_allowed_tokens": {"regex": "b"}},
            {},
            "parameters.grammar",
        ),
        ({"generation_config": "warm", "temperature": 0.5}, {}, "parameters.temperature"),
        (
            {"generation_config": {"temperature": 0.4}, "temperature": 0.5},
            {},
            "parameters.generation_config.temperature",
        ),
        ({"details": True, "outputs": {"transition_scores": {"normalize_logits": False}}}, {}, "parameters.details"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(parameters: dict[str, Any], beside: dict[str, Any], field: str):
    with pytest.raises(InvalidRequest) as caught:
        native(parameters, **beside)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_a_watermark_is_refused_where_the_server_has_none():
    body = TgiRequest.model_validate({"inputs": "Once", "parameters": {"watermark": True}})
    with pytest.raises(InvalidRequest, match="tgi_watermark"):
        translate_generation(body, Door(None, lambda: 0))


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 1.0}, "top_p"),
        ({"top_p": 0.0}, "top_p"),
        ({"typical_p": 1.0}, "typical_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"frequency_penalty": 2.1}, "frequency_penalty"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"truncate": 0}, "truncate"),
        ({"best_of": 0}, "best_of"),
        ({"adapter_id": "lora"}, "adapter_id"),
        ({"grammar": {"type": "lark", "value": "x"}}, "grammar"),
        ({"grammar": {"type": "regex", "value": {}}}, "grammar"),
        ({"stop": [""]}, "stop"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_what_is_out_of_range_or_unknown_is_refused_by_name(parameters: dict[str, Any], field: str):
    with pytest.raises(ValidationError) as caught:
        TgiRequest.model_validate({"inputs": "Once", "parameters": parameters})
    assert {error["loc"][1] for error in caught.value.errors()} == {field}


def test_problems_of_our_own_words_are_told_in_those_of_the_client():
    assert native({"max_new_tokens": 5}).given_names["generation_config.max_new_tokens"] == "parameters.max_new_tokens"
    assert native({}).given_names["generation_config.max_length"] == "parameters.max_new_tokens"
    assert native({"stop": ["a"]}).given_names["generation_config.stop_strings"] == "parameters.stop"
