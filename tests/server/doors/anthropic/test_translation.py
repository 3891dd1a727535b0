"""What each field of `POST /v1/messages` means in our own request."""

from typing import Any

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaMessageCreateParamsBase
from anthropic.types.message_create_params import MessageCreateParamsBase

from beamhouse.engine.link.errors import InvalidRequest
from beamhouse.schemas.anthropic.messages import MessagesRequest
from beamhouse.server.doors.anthropic.translation import translate_messages
from beamhouse.server.service import Model, open_model
from tests.fakes import fake_info
from tests.http.conftest import make_settings

SAID = [{"role": "user", "content": "ab"}]
BESIDE = {"messages": SAID, "outputs": {"include_stop_string": False}, "fill_context": True}
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
THINKS = TEMPLATE + "<think></think>"
SWITCHED = THINKS + "{{ enable_thinking }}{{ thinking_budget }}{{ reasoning_effort }}"
DRAWN = {
    "max_new_tokens": 5,
    "do_sample": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "num_return_sequences": 1,
}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "temperature": ({"temperature": 0.5}, {"temperature": 0.5}),
    "top_p": ({"top_p": 0.5}, {"top_p": 0.5}),
    "top_k": ({"top_k": 5}, {"top_k": 5}),
    "no top_k": ({"top_k": -1}, {"top_k": 0}),
    "stop_sequences": ({"stop_sequences": ["a", "b"]}, {"stop_strings": ["a", "b"]}),
    "no stop_sequences": ({"stop_sequences": []}, {}),
    "a field of ours": ({"repetition_penalty": 1.5}, {"repetition_penalty": 1.5}),
    "a configuration": ({"generation_config": {"min_p": 0.5}}, {"min_p": 0.5}),
    "what changes nothing": (
        {
            "metadata": {"user_id": "me"},
            "service_tier": "standard_only",
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "thinking": {"type": "adaptive"},
            "speed": "standard",
            "tools": [],
        },
        {},
    ),
}


HEADERS = {"betas", "user_profile_id", "workspace_id"}
"""What the package takes as arguments and sends as headers."""


@pytest.mark.parametrize("params", [MessageCreateParamsBase, BetaMessageCreateParamsBase])
def test_every_field_of_the_package_is_answered_or_refused_by_name(params):
    known = MessagesRequest.model_fields.keys() | MessagesRequest.not_supported
    assert params.__annotations__.keys() - known - HEADERS == set()


def model_of(tokenizer_file: str | None, template: str = TEMPLATE, **config: Any) -> Model:
    own = {"bos_token_id": 0, "eos_token_id": 1, **config}
    return open_model(
        fake_info(tokenizer_file, chat_template=template, generation_config=own, reads_tools=True), make_settings()
    )


def ask(model: Model, **fields: Any) -> dict[str, Any]:
    body = MessagesRequest.model_validate({"model": "m", "max_tokens": 5, "messages": SAID} | fields)
    return translate_messages(body, model).model_dump(exclude_none=True)


@pytest.mark.parametrize("change", CHANGES)
def test_a_field_changes_what_it_says_and_nothing_else(change):
    fields, changed = CHANGES[change]
    asked = ask(model_of(None), **fields)
    config = asked.pop("generation_config")
    assert asked == BESIDE
    assert {name: value for name, value in config.items() if value is not None} == DRAWN | changed


def test_temperature_0_takes_the_likeliest():
    config = ask(model_of(None), temperature=0)["generation_config"]
    assert config == {"max_new_tokens": 5, "do_sample": False, "num_return_sequences": 1}


def test_0_tokens_compute_the_prompt_alone():
    asked = ask(model_of(None), max_tokens=0)
    assert asked["outputs"] == {"prompt_only": True, "include_stop_string": False}
    assert "max_new_tokens" not in asked["generation_config"]
    assert "fill_context" not in asked


def test_the_models_file_says_what_the_api_has_no_word_for():
    config = ask(model_of(None, top_k=7, temperature=0.1))["generation_config"]
    assert (config["top_k"], config["temperature"]) == (7, 1.0)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"stream": True}, {"stream": True}),
        ({"seed": 3}, {"seed": 3}),
        ({"cache_salt": "x"}, {"cache_salt": "x"}),
        ({"outputs": {"config": True}}, {"outputs": {"config": True, "include_stop_string": False}}),
        ({"outputs": {"include_stop_string": True}}, {"outputs": {"include_stop_string": True}}),
        (
            {"messages": [*SAID, {"role": "assistant", "content": "c"}]},
            {"messages": [*SAID, {"role": "assistant", "content": "c"}], "continue_final_message": True},
        ),
        (
            {"tools": [{"name": "look", "input_schema": {}}]},
            {"tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}]},
        ),
        ({"chat_template_kwargs": {"a": 1}}, {"chat_template_kwargs": {"a": 1}}),
        ({"output_config": {"effort": "low"}}, {"chat_template_kwargs": {"reasoning_effort": "low"}}),
    ],
    ids=str,
)
def test_what_stands_beside_the_configuration(fields, expected):
    asked = ask(model_of(None), **fields)
    del asked["generation_config"]
    assert asked == BESIDE | expected


ON, OFF = {"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}


@pytest.mark.parametrize(
    ("template", "thinking", "variables"),
    [
        (SWITCHED, ON, {"enable_thinking": True, "thinking_budget": 1024}),
        (SWITCHED, OFF, {"enable_thinking": False}),
        (SWITCHED, {"type": "adaptive"}, None),
        (TEMPLATE + "{{ thinking }}", ON, {"thinking": True}),
        (THINKS, ON, None),
        (TEMPLATE, OFF, None),
    ],
    ids=str,
)
def test_thinking_is_told_to_the_template_that_listens(tokenizer_file, template, thinking, variables):
    asked = ask(model_of(tokenizer_file, template), thinking=thinking, max_tokens=2000)
    assert asked.get("chat_template_kwargs") == variables


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"thinking": ON, "max_tokens": 2000}, "thinking.type"),
        ({"num_return_sequences": 2}, "num_return_sequences"),
        ({"generation_config": {"num_return_sequences": 2}}, "generation_config.num_return_sequences"),
        ({"max_new_tokens": 6}, "max_tokens"),
        ({"stop_strings": ["a"], "stop_sequences": ["b"]}, "stop_sequences"),
        (
            {"chat_template_kwargs": {"reasoning_effort": "high"}, "output_config": {"effort": "low"}},
            "output_config.effort",
        ),
    ],
    ids=str,
)
def test_what_contradicts_itself_or_the_model_is_refused(tokenizer_file, fields, field):
    with pytest.raises(InvalidRequest) as caught:
        ask(model_of(tokenizer_file), **fields)
    assert caught.value.problems[0].field == field


def test_a_model_that_always_thinks_cannot_be_kept_from_it(tokenizer_file):
    with pytest.raises(InvalidRequest, match="always thinks"):
        ask(model_of(tokenizer_file, THINKS), thinking=OFF)


def test_a_budget_is_less_than_the_whole(tokenizer_file):
    with pytest.raises(InvalidRequest, match="less than max_tokens"):
        ask(model_of(tokenizer_file, THINKS), thinking=ON, max_tokens=1024)
