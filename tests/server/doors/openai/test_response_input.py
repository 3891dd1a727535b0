"""What the input of `POST /v1/responses` becomes."""

import pytest
from pydantic import TypeAdapter

from beamhouse.schemas.beamhouse.conversation import Conversation
from beamhouse.schemas.openai.response_items import Input
from beamhouse.server.asking.turns import message_names
from beamhouse.server.doors.openai.response_input import conversation_of

READ = TypeAdapter(Input)
HI = {"role": "user", "content": "hi"}
USE = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Oslo"}'}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "5"}
SAID = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "so", "annotations": [], "logprobs": []}],
}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "hm"}],
    "encrypted_content": None,
}
TOOL = {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": "5"}
CASES = {
    "a text": ("hi", [HI]),
    "a message": ([HI], [HI]),
    "a message with its type": ([{"type": "message", **HI}], [HI]),
    "a part": ([{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}], [HI]),
    "parts": (
        [{"role": "user", "content": [{"type": "input_text", "text": text} for text in "ab"]}],
        [{"role": "user", "content": [{"type": "text", "text": text} for text in "ab"]}],
    ),
    "messages of one role": ([HI, HI], [HI, HI]),
    "a developer": ([{"role": "developer", "content": "be brief"}], [{"role": "developer", "content": "be brief"}]),
    "an answer": ([HI, SAID, HI], [HI, {"role": "assistant", "content": "so"}, HI]),
    "a call": ([HI, USE], [HI, {"role": "assistant", "tool_calls": [CALL]}]),
    "a result": ([HI, USE, RESULT], [HI, {"role": "assistant", "tool_calls": [CALL]}, TOOL]),
    "a result in parts": (
        [HI, USE, {**RESULT, "output": [{"type": "input_text", "text": "5"}]}],
        [HI, {"role": "assistant", "tool_calls": [CALL]}, TOOL],
    ),
    "a turn of many items": (
        [HI, THOUGHT, SAID, USE, RESULT],
        [HI, {"role": "assistant", "content": "so", "reasoning_content": "hm", "tool_calls": [CALL]}, TOOL],
    ),
    "a summary": (
        [THOUGHT | {"content": None, "summary": [{"type": "summary_text", "text": "hm"}]}, SAID],
        [{"role": "assistant", "content": "so", "reasoning_content": "hm"}],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_items_become_messages(case):
    given, expected = CASES[case]
    turns = [turn.fields() for turn in conversation_of(None, READ.validate_python(given))]
    assert turns == expected
    Conversation.model_validate({"messages": turns})


def test_instructions_come_first():
    turns = conversation_of("be brief", READ.validate_python([HI, USE]))
    assert turns[0].fields() == {"role": "system", "content": "be brief"}
    assert message_names(turns) == {
        "messages.0": "instructions",
        "messages.1": "input.0",
        "messages.2": "input.1",
        "messages.2.tool_calls.0": "input.1",
    }


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, "input_image"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}, "input_file"),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, "refusal"),
        ({"type": "item_reference", "id": "msg_1"}, "item_reference"),
        ({"type": "web_search_call", "id": "ws_1"}, "web_search_call"),
        ({"type": "local_shell_call", "id": "sh_1"}, "local_shell_call"),
        ({**THOUGHT, "encrypted_content": "x"}, "encrypted_content"),
    ],
    ids=str,
)
def test_what_nobody_here_can_read_is_refused_by_name(item, name):
    with pytest.raises(ValueError, match=name):
        READ.validate_python([item])
