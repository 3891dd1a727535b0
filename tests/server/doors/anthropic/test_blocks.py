"""The events of a turn, and what they come to."""

import itertools
import json
from collections.abc import Iterable, Sequence

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from beamhouse.schemas.anthropic.answers import Message, MessageStart, SaidBlock, Usage
from beamhouse.server.conversation.deltas import CallArguments, CallBegin, CallEnd, Delta, ReasoningDelta, TextDelta
from beamhouse.server.doors.anthropic.blocks import Blocks, input_of, signature_of
from tests.server.doors.turns import CALL
from tests.server.doors.turns import TURNS as EVERY

TURNS = EVERY | {
    "a call that breaks off": [CallBegin(0, "call_1", "weather"), CallArguments(0, '{"a": [1, "b'), CallEnd(0)],
}
READ = TypeAdapter(RawMessageStreamEvent)


def told(blocks: Blocks, deltas: Iterable[Delta]) -> list[dict[str, object]]:
    return [json.loads(msgspec.json.encode(event)) for event in (*blocks.tell(deltas), *blocks.close())]


def as_json(content: Sequence[SaidBlock]) -> list[dict[str, object]]:
    return json.loads(msgspec.json.encode(content))


@pytest.mark.parametrize("turn", TURNS)
def test_the_events_joined_by_the_client_are_the_content(turn):
    blocks = Blocks()
    start = MessageStart(Message(id="m", model="m", content=[], usage=Usage(1, 0)))
    events = [json.loads(msgspec.json.encode(start)), *told(blocks, TURNS[turn])]
    snapshot, buffers = None, {}
    for event in events:
        read = READ.validate_python(event)
        snapshot = accumulate_event(event=read, current_snapshot=snapshot, json_bufs=buffers)
    assert [block.to_dict() for block in snapshot.content] == as_json(blocks.content)


@pytest.mark.parametrize("turn", TURNS)
def test_however_the_deltas_come_the_content_is_the_same(turn):
    deltas = TURNS[turn]
    whole = Blocks()
    told(whole, deltas)
    for cut in range(len(deltas) + 1):
        parted = Blocks()
        list(itertools.chain(parted.tell(deltas[:cut]), parted.tell(deltas[cut:]), parted.close()))
        assert parted.content == whole.content


def test_each_block_is_begun_filled_and_ended_in_turn():
    events = told(Blocks(), [ReasoningDelta("hm"), TextDelta("so"), *CALL])
    assert [(event["type"].removeprefix("content_block_"), event["index"]) for event in events] == [
        *[("start", 0), ("delta", 0), ("delta", 0), ("stop", 0)],
        *[("start", 1), ("delta", 1), ("stop", 1)],
        *[("start", 2), ("delta", 2), ("delta", 2), ("stop", 2)],
    ]
    assert [event["delta"]["type"] for event in events if "delta" in event] == [
        *["thinking_delta", "signature_delta", "text_delta", "input_json_delta", "input_json_delta"]
    ]
    assert events[2]["delta"]["signature"] == signature_of("hm")
    assert events[7]["content_block"] == {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", {}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": 1, "b', {"a": 1}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ("{a}", {"INVALID_JSON": "{a}"}),
    ],
)
def test_inputs_are_read_as_far_as_they_are_json(written, read):
    assert input_of(written) == read
