"""What the fields of OpenAI's bodies become in our own request, one row a field."""

from typing import Any

import pytest
from hypothesis import given

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.schemas.beamhouse.generate import Beside
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.fields import DeclaredFields
from beamhouse.schemas.openai.completions import CompletionRequest
from beamhouse.server.asking.drawing import gather_own
from beamhouse.server.asking.gathering import Gathering
from beamhouse.server.doors.openai.completions import translate_completion
from tests.schemas.generation.strategies import configs

FILE = GenerationConfig(eos_token_id=2, top_k=20, temperature=0.6, top_p=0.9, do_sample=True, repetition_penalty=1.1)
DRAWN = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 20}
SILENT = {
    "outputs": {"include_stop_string": False},
    "generation_config": {"max_new_tokens": 16, "num_return_sequences": 1},
}


def translated(body: dict[str, Any], file: GenerationConfig = FILE) -> dict[str, Any]:
    native = translate_completion(CompletionRequest.model_validate(body), file)
    return native.model_dump(mode="json", exclude_none=True)


def config(**fields: Any) -> dict[str, Any]:
    return {"generation_config": fields}


def drawn(**fields: Any) -> dict[str, Any]:
    return config(**(DRAWN | fields))


def greedy(**fields: Any) -> dict[str, Any]:
    return config(do_sample=False, **fields)


RAW = {"logprobs": "raw"}
# A body, and what of our own request differs from that of a silent one.
TABLE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, drawn()),
    ({"model": "gpt-3.5-turbo", "user": "u", "safety_identifier": "s", "metadata": {"a": 1}}, drawn()),
    ({"store": False, "service_tier": "auto", "prompt_cache_key": "k"}, drawn()),
    ({"prompt": "a"}, {"inputs": "a"} | drawn()),
    ({"prompt": ["a", "b"]}, {"inputs": ["a", "b"]} | drawn()),
    ({"prompt": [1, 2]}, {"inputs": [1, 2]} | drawn()),
    ({"prompt": [[1], [2]]}, {"inputs": [[1], [2]]} | drawn()),
    ({"stream": True}, {"stream": True} | drawn()),
    ({"stream": False}, {"stream": False} | drawn()),
    # How long
    ({"max_tokens": 5}, drawn(max_new_tokens=5)),
    ({"max_new_tokens": 5}, drawn(max_new_tokens=5)),
    ({"max_length": 40}, drawn(max_length=40, max_new_tokens=None)),
    ({"max_tokens": 0}, drawn(max_new_tokens=None) | {"outputs": {"prompt_only": True}}),
    ({"min_tokens": 3}, drawn(min_new_tokens=3)),
    ({"stop": "x"}, drawn(stop_strings="x")),
    ({"stop": ["x", "y"]}, drawn(stop_strings=["x", "y"])),
    ({"stop": []}, drawn()),
    (
        {"stop": "x", "include_stop_str_in_output": True},
        drawn(stop_strings="x") | {"outputs": {"include_stop_string": True}},
    ),
    ({"stop_token_ids": [7]}, drawn(eos_token_id=[2, 7])),
    ({"ignore_eos": True}, drawn(eos_token_id=[])),
    ({"ignore_eos": True, "stop_token_ids": [7]}, drawn(eos_token_id=[7])),
    ({"eos_token_id": 5, "stop_token_ids": [7]}, drawn(eos_token_id=[5, 7])),
    # Whether to draw, and from which
    ({"temperature": 0}, greedy()),
    ({"temperature": 0.7}, drawn(temperature=0.7)),
    ({"top_p": 0.5}, drawn(top_p=0.5)),
    ({"top_k": 5}, drawn(top_k=5)),
    ({"top_k": -1}, drawn(top_k=0)),
    ({"top_k": 0}, drawn(top_k=0)),
    ({"min_p": 0.1}, drawn(min_p=0.1)),
    ({"do_sample": False}, greedy()),
    ({"generation_config": {"do_sample": False}}, greedy()),
    ({"generation_config": {"top_k": 7, "typical_p": 0.5}}, drawn(top_k=7, typical_p=0.5)),
    ({"num_beams": 4}, greedy(num_beams=4)),
    ({"num_beams": 4, "temperature": 0.7}, drawn(num_beams=4, temperature=0.7)),
    ({"num_beams": 4, "do_sample": True}, drawn(num_beams=4)),
    ({"num_beams": 4, "mode": "beam_sample"}, drawn(num_beams=4) | {"mode": "beam_sample"}),
    ({"mode": "greedy_search"}, greedy() | {"mode": "greedy_search"}),
    ({"penalty_alpha": 0.6, "top_k": 4}, greedy(penalty_alpha=0.6, top_k=4)),
    ({"penalty_alpha": 0.6}, greedy(penalty_alpha=0.6)),
    ({"dola_layers": "low"}, greedy(dola_layers="low")),
    ({"num_beams": 4, "force_words": ["a"]}, greedy(num_beams=4) | {"force_words": ["a"]}),
    ({"assistant_model": "draft"}, drawn() | {"assistant_model": "draft"}),
    ({"prompt_lookup_num_tokens": 3}, drawn(prompt_lookup_num_tokens=3)),
    ({"seed": 3}, drawn() | {"seed": 3}),
    # How many
    ({"n": 3}, drawn(num_return_sequences=3)),
    ({"num_return_sequences": 3}, drawn(num_return_sequences=3)),
    ({"n": 3, "temperature": 0}, greedy() | {"copies": 3}),
    ({"n": 2, "assistant_model": "draft"}, drawn() | {"assistant_model": "draft", "copies": 2}),
    ({"n": 2, "best_of": 4}, drawn(num_return_sequences=4) | {"outputs": {"transition_scores": True}}),
    ({"n": 2, "best_of": 2}, drawn(num_return_sequences=2)),
    ({"n": 2, "num_beams": 4}, greedy(num_beams=4, num_return_sequences=2)),
    ({"n": 2, "use_beam_search": True}, greedy(num_beams=2, num_return_sequences=2)),
    ({"n": 2, "best_of": 4, "use_beam_search": True}, greedy(num_beams=4, num_return_sequences=2)),
    ({"use_beam_search": True, "num_beams": 3, "length_penalty": 2}, greedy(num_beams=3, length_penalty=2.0)),
    ({"n": 2, "best_of": 3, "use_beam_search": True, "temperature": 0}, greedy(num_beams=3, num_return_sequences=2)),
    # What counts
    ({"frequency_penalty": 0.5}, drawn(frequency_penalty=0.5)),
    ({"presence_penalty": -0.5}, drawn(presence_penalty=-0.5)),
    ({"repetition_penalty": 1.3}, drawn(repetition_penalty=1.3)),
    ({"logit_bias": {"5": -100, "6": 2.5}}, drawn(sequence_bias=[[[5], -100.0], [[6], 2.5]])),
    ({"logit_bias": {}}, drawn()),
    ({"watermarking_config": "mark"}, drawn(watermarking_config="mark")),
    # What the text must follow
    ({"allowed_token_ids": [1, 2]}, drawn() | {"prefix_allowed_tokens": {"token_ids": [1, 2]}}),
    ({"guided_json": {"type": "object"}}, drawn() | {"prefix_allowed_tokens": {"json_schema": {"type": "object"}}}),
    ({"guided_json": '{"type": "object"}'}, drawn() | {"prefix_allowed_tokens": {"json_schema": {"type": "object"}}}),
    ({"guided_regex": "a+"}, drawn() | {"prefix_allowed_tokens": {"regex": "a+"}}),
    ({"guided_choice": ["a.", "b"]}, drawn() | {"prefix_allowed_tokens": {"regex": r"a\.|b"}}),
    ({"guided_grammar": 'start: "a"'}, drawn() | {"prefix_allowed_tokens": {"grammar": 'start: "a"'}}),
    (
        {"structured_outputs": {"json": {"type": "null"}}},
        drawn() | {"prefix_allowed_tokens": {"json_schema": {"type": "null"}}},
    ),
    (
        {"structured_outputs": {"json_object": True}},
        drawn() | {"prefix_allowed_tokens": {"json_schema": {"type": "object"}}},
    ),
    ({"structured_outputs": {"regex": "a"}}, drawn() | {"prefix_allowed_tokens": {"regex": "a"}}),
    ({"structured_outputs": {"choice": ["a"]}}, drawn() | {"prefix_allowed_tokens": {"regex": "a"}}),
    ({"structured_outputs": {"grammar": "g"}}, drawn() | {"prefix_allowed_tokens": {"grammar": "g"}}),
    ({"prefix_allowed_tokens": {"regex": "a"}}, drawn() | {"prefix_allowed_tokens": {"regex": "a"}}),
    ({"response_format": {"type": "text"}}, drawn()),
    (
        {"response_format": {"type": "json_object"}},
        drawn() | {"prefix_allowed_tokens": {"json_schema": {"type": "object"}}},
    ),
    # What is told
    ({"logprobs": 0}, drawn() | {"outputs": {"transition_scores": True} | RAW}),
    ({"logprobs": 2}, drawn() | {"outputs": {"transition_scores": True, "top_n_tokens": 2} | RAW}),
    (
        {"logprobs": 0, "logprobs_mode": "processed"},
        drawn() | {"outputs": {"transition_scores": True, "logprobs": "processed"}},
    ),
    ({"echo": True}, drawn()),
    (
        {"logprobs": 1, "echo": True},
        drawn()
        | {
            "outputs": {"transition_scores": True, "top_n_tokens": 1, "prompt_logprobs": True, "prompt_top_n_tokens": 1}
            | RAW
        },
    ),
    ({"prompt_logprobs": 2}, drawn() | {"outputs": {"prompt_logprobs": True, "prompt_top_n_tokens": 2}}),
    ({"prompt_logprobs": 0}, drawn() | {"outputs": {"prompt_logprobs": True}}),
    ({"skip_special_tokens": False}, drawn() | {"outputs": {"skip_special_tokens": False}}),
    ({"outputs": {"config": True}}, drawn() | {"outputs": {"config": True}}),
    ({"return_token_ids": True, "return_tokens_as_token_ids": True}, drawn()),
    # How it runs
    ({"add_special_tokens": False}, drawn() | {"add_special_tokens": False}),
    ({"truncate_prompt_tokens": 9}, drawn() | {"truncate": 9}),
    ({"negative_prompt": "bad", "guidance_scale": 1.5}, drawn(guidance_scale=1.5) | {"negative_prompt": "bad"}),
    (
        {"priority": 1, "deadline_s": 2.5, "cache_salt": "s"},
        drawn() | {"priority": 1, "deadline_s": 2.5, "cache_salt": "s"},
    ),
    ({"logits_processor": [{"name": "p"}]}, drawn() | {"logits_processor": [{"name": "p", "args": {}}]}),
    ({"stopping_criteria": [{"name": "c"}]}, drawn() | {"stopping_criteria": [{"name": "c", "args": {}}]}),
]


@pytest.mark.parametrize(("body", "expected"), TABLE, ids=lambda value: str(value)[:60])
def test_each_field_becomes_one_of_ours(body: dict[str, Any], expected: dict[str, Any]) -> None:
    merged = SILENT | {
        place: SILENT.get(place, {}) | value if isinstance(value, dict) else value for place, value in expected.items()
    }
    merged["generation_config"] = {
        name: value for name, value in merged["generation_config"].items() if value is not None
    }
    assert translated(body) == merged


def test_no_shared_field_is_left_out_of_the_table() -> None:
    told = {name for body, _ in TABLE for name in body}
    own = CompletionRequest.model_fields.keys() - DeclaredFields.model_fields.keys() - Beside.model_fields.keys()
    assert own <= told | {"stream_options"}


@given(fields=configs())
def test_every_field_of_generate_may_stand_in_the_body_or_in_the_configuration(fields: dict[str, Any]) -> None:
    """Each comes to its own place; that they need not go together is the judge's affair."""
    beside = CompletionRequest.model_validate(fields)
    within = CompletionRequest.model_validate({"generation_config": fields})
    assert beside.set_fields() == (within.generation_config or GenerationConfig()).set_fields()
    for body in (beside, within):
        asked = Gathering()
        gather_own(asked, body)
        places = asked.within("generation_config")
        assert places.keys() >= fields.keys() - {"temperature"}


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"max_tokens": 3, "max_new_tokens": 4}, "max_tokens", "max_new_tokens"),
        ({"n": 2, "num_return_sequences": 3}, "n", "num_return_sequences"),
        ({"top_k": 3, "generation_config": {"top_k": 4}}, "generation_config.top_k", "top_k"),
        ({"temperature": 0, "do_sample": True}, "temperature", "do_sample"),
        ({"ignore_eos": True, "eos_token_id": 3}, "ignore_eos", "eos_token_id"),
        ({"guided_json": {}, "guided_regex": "a"}, "guided_regex", "guided_json"),
        ({"guided_json": "{"}, "guided_json", "not valid JSON"),
        ({"guided_json": "[]"}, "guided_json", "no object"),
        ({"n": 3, "best_of": 2}, "best_of", "at least n"),
        ({"n": 2, "best_of": 3, "stream": True}, "best_of", "stream"),
        ({"best_of": 3, "num_beams": 4}, "best_of", "num_beams"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream"),
    ],
)  # fmt: skip
def test_two_words_for_one_thing_must_agree(body: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        translated(body)
    (problem,) = raised.value.problems
    assert problem.field == field
    assert said in problem.message


def test_equal_words_for_one_thing_agree() -> None:
    body = {"max_tokens": 3, "max_new_tokens": 3, "generation_config": {"max_new_tokens": 3}}
    assert translated(body)["generation_config"]["max_new_tokens"] == 3


def test_problems_are_told_in_the_words_of_the_client() -> None:
    native = translate_completion(CompletionRequest.model_validate({"max_tokens": 3, "n": 2, "stop": "x"}), FILE)
    names = native.given_names
    assert names["generation_config.max_new_tokens"] == "max_tokens"
    assert names["generation_config.num_return_sequences"] == "n"
    assert names["generation_config.stop_strings"] == "stop"


def test_a_mode_that_only_the_file_asks_for_draws_as_the_file_says() -> None:
    for do_sample in (None, True):
        file = GenerationConfig(num_beams=4, do_sample=do_sample)
        assert "do_sample" not in translated({}, file)["generation_config"]
    assert translated({"temperature": 0.5}, file)["generation_config"]["do_sample"] is True


def test_without_a_file_all_tokens_may_be_drawn() -> None:
    assert translated({}, GenerationConfig())["generation_config"]["top_k"] == 0
