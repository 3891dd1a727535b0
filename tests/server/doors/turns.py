"""Turns of a model, for the protocols that tell them in parts."""

from beamhouse.server.conversation.deltas import CallArguments, CallBegin, CallEnd, Delta, ReasoningDelta, TextDelta

CALL = [CallBegin(0, "call_1", "weather"), CallArguments(0, '{"city": '), CallArguments(0, '"Oslo"}'), CallEnd(0)]
SECOND = [CallBegin(1, "call_2", "time"), CallArguments(1, "{}"), CallEnd(1)]
TURNS: dict[str, list[Delta]] = {
    "nothing": [],
    "empty pieces": [TextDelta(""), ReasoningDelta("")],
    "text": [TextDelta("so"), TextDelta(""), TextDelta(" it is")],
    "thoughts and text": [ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("so")],
    "a call": CALL,
    "text and calls": [TextDelta("so"), *CALL, *SECOND],
    "text around a call": [TextDelta("so"), *CALL, TextDelta("then")],
    "a call without arguments": [CallBegin(0, "call_1", "weather"), CallEnd(0)],
    "thoughts that break off": [ReasoningDelta("hm")],
}
