"""What each door is asked in a load, and what its events say of tokens."""

from random import Random
from typing import Any

import pytest

from beamhouse.schemas.beamhouse.generate import GenerateRequest
from beamhouse.schemas.generation.config import GenerationConfig
from beamhouse.schemas.generation.modes import mode_of
from beamhouse.server.command.bench.doors import DOORS, GREEDY, NATIVE, failure_in
from beamhouse.server.command.bench.modes import MODES, Mode, NoDraft, fields_of

AT = {door.name: door for door in DOORS}
BEAMS = {"generation_config": {"num_beams": 4, "do_sample": False}, "force_words": ["a"]}
LENGTHS = {"max_new_tokens": 5, "min_new_tokens": 5}
TURN = [{"role": "user", "content": "hi"}]
OPENAI = {
    "model": "any",
    "temperature": 0,
    "force_words": ["a"],
    "generation_config": {"num_beams": 4},
    "max_tokens": 5,
    "min_tokens": 5,
    "stream_options": {"include_usage": True},
    "stream": True,
}
OTHERS = {
    "model": "any",
    "temperature": 0,
    "force_words": ["a"],
    "generation_config": {"num_beams": 4, "min_new_tokens": 5},
    "stream": True,
}


@pytest.mark.parametrize(
    ("door", "body"),
    [
        (
            "native",
            {
                **BEAMS,
                "inputs": "hi",
                "generation_config": {"num_beams": 4, "do_sample": False, **LENGTHS},
                "stream": True,
            },
        ),
        ("openai-completions", {"prompt": "hi", **OPENAI}),
        ("openai-chat", {"messages": TURN, **OPENAI}),
        ("openai-responses", {"input": "hi", "max_output_tokens": 5, **OTHERS}),
        (
            "tgi",
            {
                "inputs": "hi",
                "parameters": {"num_beams": 4, "do_sample": False, **LENGTHS, "force_words": ["a"], "details": True},
                "stream": True,
            },
        ),
        ("anthropic", {"messages": TURN, "max_tokens": 5, **OTHERS}),
    ],
)
def test_a_mode_is_asked_for_in_the_words_of_the_door(door: str, body: dict[str, Any]):
    assert AT[door].body("hi", 5, BEAMS) == body


def test_drawing_is_said_by_the_temperature():
    drawn = AT["openai-chat"].body("hi", 5, {"generation_config": {"do_sample": True}})
    assert drawn["temperature"] == 1
    assert "generation_config" not in drawn
    assert NATIVE.body([1, 2], 5, GREEDY)["inputs"] == [1, 2]


@pytest.mark.parametrize(
    ("door", "event", "came", "told"),
    [
        ("native", {"token_id": 3, "text": "a"}, 1, None),
        ("native", {"token_ids": [3, 4], "text": "a"}, 2, None),
        ("native", {"sequences": [], "usage": {"generated_tokens": 9}}, 0, 9),
        ("openai-completions", {"choices": [{"text": "a"}, {"text": ""}], "usage": None}, 1, None),
        ("openai-completions", {"choices": [], "usage": {"completion_tokens": 9}}, 0, 9),
        ("openai-chat", {"choices": [{"delta": {"role": "assistant", "content": ""}}]}, 0, None),
        ("openai-chat", {"choices": [{"delta": {"content": "a"}}]}, 1, None),
        ("openai-chat", {"choices": [{"delta": {"reasoning_content": "a"}}]}, 1, None),
        ("openai-responses", {"type": "response.output_text.delta", "delta": "a"}, 1, None),
        ("openai-responses", {"type": "response.completed", "response": {"usage": {"output_tokens": 9}}}, 0, 9),
        ("openai-responses", {"type": "response.incomplete", "response": {"usage": {"output_tokens": 9}}}, 0, 9),
        ("openai-responses", {"type": "response.created", "response": {"usage": None}}, 0, None),
        ("tgi", {"token": {"id": 3, "text": "a"}, "details": None}, 1, None),
        ("tgi", {"token": {"id": 3}, "details": {"generated_tokens": 9}}, 1, 9),
        ("anthropic", {"type": "content_block_delta", "delta": {"text": "a"}}, 1, None),
        ("anthropic", {"type": "message_delta", "usage": {"output_tokens": 9}}, 0, 9),
        ("anthropic", {"type": "message_start", "message": {"usage": {"output_tokens": 1}}}, 0, None),
    ],
)
def test_events_say_what_came_and_what_was_gained(door: str, event: dict[str, Any], came: int, told: int | None):
    assert (AT[door].came(event), AT[door].told(event)) == (came, told)


@pytest.mark.parametrize(
    ("name", "event", "failure"),
    [
        ("error", {"code": "batch_failed", "detail": "x"}, "batch_failed"),
        ("", {"error": {"message": "x", "type": "BadRequestError", "code": None}}, "BadRequestError"),
        ("", {"error": "x", "error_type": "validation"}, "validation"),
        ("error", {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, "overloaded_error"),
        ("token", {"token_id": 1}, None),
    ],
)
def test_a_failure_is_seen_in_every_protocol(name: str, event: dict[str, Any], failure: str | None):
    assert failure_in(name, event) == failure


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_each_mode_is_what_the_server_runs(mode: Mode):
    fields = fields_of(mode, Random(1), 4, "draft")
    body = GenerateRequest.model_validate(NATIVE.body("hi", 5, fields))
    assert isinstance(body.generation_config, GenerationConfig)
    words = {"force_words_ids": [[1]]} if body.force_words else {}
    assert mode_of(body.generation_config.model_copy(update=words), body.assistant_model) == mode.runs


def test_a_mode_that_needs_a_draft_says_so():
    drafted = next(mode for mode in MODES if mode.name == "draft_model")
    with pytest.raises(NoDraft, match="draft_model needs --assistant-model"):
        fields_of(drafted, Random(1), 4, None)
