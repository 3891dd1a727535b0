"""The events of a response, and what they come to."""

import itertools
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from beamhouse.server.conversation.deltas import CallArguments, CallBegin, CallEnd, Delta, ReasoningDelta, TextDelta
from beamhouse.server.doors.openai.response_items import Items
from tests.server.doors.turns import CALL, TURNS

READ = TypeAdapter(ResponseStreamEvent)


def told(items: Items, deltas: Iterable[Delta], is_cut: bool = False) -> list[dict[str, Any]]:
    events = itertools.chain(items.tell(deltas), items.finish(is_cut))
    return [
        json.loads(msgspec.json.encode({"type": f"response.{name}", "sequence_number": 0, **fields}))
        for name, fields in events
    ]


@pytest.mark.parametrize("turn", TURNS)
def test_every_event_is_one_that_the_client_knows(turn):
    for event in told(Items("1"), TURNS[turn]):
        read = READ.validate_python(event)
        assert read.type == event["type"]


@pytest.mark.parametrize("turn", TURNS)
def test_the_pieces_of_each_item_joined_are_what_its_end_holds(turn):
    items = Items("1")
    texts: dict[str, str] = {}
    ended = []
    for event in told(items, TURNS[turn]):
        if event["type"].endswith(".delta"):
            texts[event["item_id"]] = texts.get(event["item_id"], "") + event["delta"]
        elif event["type"] == "response.output_item.done":
            ended.append(event["item"])
    assert ended == json.loads(msgspec.json.encode(items.output))
    for item in ended:
        whole = item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"]
        assert texts.get(item["id"], "") == whole


@pytest.mark.parametrize("turn", TURNS)
def test_however_the_deltas_come_the_output_is_the_same(turn):
    deltas = TURNS[turn]
    whole = Items("1")
    told(whole, deltas)
    for cut in range(len(deltas) + 1):
        parted = Items("1")
        list(itertools.chain(parted.tell(deltas[:cut]), parted.tell(deltas[cut:]), parted.finish(False)))
        assert parted.output == whole.output


def test_the_events_of_items_come_in_their_order():
    events = told(Items("1"), [ReasoningDelta("hm"), TextDelta("so"), *CALL])
    assert [(event["type"].removeprefix("response."), event["output_index"]) for event in events] == [
        ("output_item.added", 0),
        ("content_part.added", 0),
        ("reasoning_text.delta", 0),
        ("reasoning_text.done", 0),
        ("content_part.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("content_part.added", 1),
        ("output_text.delta", 1),
        ("output_text.done", 1),
        ("content_part.done", 1),
        ("output_item.done", 1),
        ("output_item.added", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.done", 2),
        ("output_item.done", 2),
    ]
    assert events[0]["item"] == {
        "type": "reasoning",
        "id": "rs_1_0",
        "status": "in_progress",
        "summary": [],
        "content": [],
    }


@pytest.mark.parametrize(
    ("deltas", "statuses"),
    [
        ([TextDelta("so")], ["incomplete"]),
        ([ReasoningDelta("hm"), TextDelta("so")], ["completed", "incomplete"]),
        (CALL, ["completed"]),
        ([CallBegin(0, "call_1", "weather"), CallArguments(0, '{"a'), CallEnd(0)], ["incomplete"]),
    ],
)
def test_what_breaks_off_is_incomplete(deltas, statuses):
    items = Items("1")
    told(items, deltas, is_cut=True)
    assert [item.status for item in items.output] == statuses


def test_log_probabilities_go_with_the_text_and_the_rest_with_its_end():
    items = Items("1")
    events = [*items.tell([TextDelta("so")], [1]), *items.tell([], [2]), *items.finish(False)]
    assert [fields["logprobs"] for name, fields in events if name == "output_text.delta"] == [[1], [2]]
    assert [fields["logprobs"] for name, fields in events if name == "output_text.done"] == [[1, 2]]
