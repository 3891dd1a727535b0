"""A model that cannot call tools calls them where it has to, in every mode, and its arguments hold to their schemas."""

import json
from typing import Any

import httpx
import jsonschema
import pytest

from beamhouse.schemas.beamhouse.generate import PrefixAllowedTokens
from beamhouse.server.conversation.deltas import Turn, joined
from beamhouse.server.conversation.grammars import held_turn
from beamhouse.server.conversation.notations import schema_of
from beamhouse.server.conversation.tools import Tool, ToolChoice, call_ids
from beamhouse.server.conversation.turn_format import FAMILIES, TurnFormat
from tests.deploy.processes import Replica

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 8},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "parts": {"type": "array", "maxItems": 2, "items": {"enum": ["rain", "wind"]}},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
STORY: dict[str, Any] = {
    "type": "object",
    "properties": {"hero": {"enum": ["bear", "mouse"]}, "pages": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["hero"],
    "additionalProperties": False,
}
TOOLS = {tool.name: tool for tool in (Tool("weather", WEATHER), Tool("story", STORY), Tool("clock"))}
SIMPLE = {name: TOOLS[name] for name in ("story", "clock")}
MODES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sample": {"generation_config": {"do_sample": True, "temperature": 1.5, "num_return_sequences": 3}},
    "beam": {"generation_config": {"num_beams": 3, "num_return_sequences": 2}},
    "drawn beams": {"generation_config": {"num_beams": 3, "do_sample": True}},
    "assisted": {"generation_config": {"prompt_lookup_num_tokens": 3}},
}


def turns(server: Replica, form: TurnFormat, tools: dict[str, Tool], choice: ToolChoice, **fields: Any) -> list[Turn]:
    """The turns of an answer that came to its end, as they are read whole and in pieces."""
    rule = held_turn(form, list(tools.values()), choice)
    assert isinstance(rule, PrefixAllowedTokens)
    config = {"max_new_tokens": 400, **fields.pop("generation_config", {})}
    body = {
        "inputs": "Once upon a time", "prefix_allowed_tokens": rule.model_dump(exclude_none=True),
        "generation_config": config, **fields,
    }  # fmt: skip
    answer = httpx.post(f"{server.url}/generate", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["sequences"]
    assert {row["finish_reason"]["type"] for row in rows} == {"eos_token"}
    for row in rows:
        assert read(form, tools, [row["text"]]) == read(form, tools, list(row["text"]))
    return [read(form, tools, [row["text"]]) for row in rows]


def read(form: TurnFormat, tools: dict[str, Tool], pieces: list[str]) -> Turn:
    reader = form.with_calls().reader(tools, call_ids("a"))
    return joined([delta for piece in pieces for delta in reader.push(piece)] + reader.finish())


def check(told: Turn, tools: dict[str, Tool]) -> None:
    assert told.text == ""
    assert told.calls
    for call in told.calls:
        jsonschema.validate(json.loads(call.arguments), schema_of(tools[call.name]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", [None, "hermes", "llama3", "mistral"])
def test_every_mode_calls_one_tool_as_its_schema_says(server: Replica, family: str | None, mode: str) -> None:
    form = TurnFormat(FAMILIES[family] if family else None)
    for seed in range(3 if "sample" in mode or "drawn" in mode else 1):
        choice = ToolChoice("required", is_parallel=False)
        for told in turns(server, form, TOOLS, choice, seed=seed, **MODES[mode]):
            check(told, TOOLS)
            assert len(told.calls) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_forced(server: Replica, family: str) -> None:
    form = TurnFormat(FAMILIES[family])
    # Where thoughts may stand before a call, a model that knows no form thinks until its tokens run out.
    mode = "greedy" if form.has_channels else "sample"
    for told in turns(server, form, SIMPLE, ToolChoice("required", is_parallel=False), **MODES[mode], seed=1):
        check(told, SIMPLE)


def test_a_named_tool_is_the_one_that_is_called(server: Replica) -> None:
    for name in TOOLS:
        (told,) = turns(server, TurnFormat(), TOOLS, ToolChoice.of_one(name))
        assert [call.name for call in told.calls] == [name]


def test_a_keyword_that_cannot_be_held_to_is_named(server: Replica) -> None:
    tool = Tool("f", {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}})
    rule = held_turn(TurnFormat(), [tool], ToolChoice("required"))
    assert rule is not None
    body = {"inputs": "a", "prefix_allowed_tokens": rule.model_dump(exclude_none=True)}
    answer = httpx.post(f"{server.url}/generate", json=body, timeout=120)
    assert answer.status_code == 422
    assert "uniqueItems" in answer.json()["errors"][0]["message"]
