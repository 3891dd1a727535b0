"""How a run is said as a message: whole, or as the events of a stream."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fastapi import Response
from msgspec import UNSET, Raw, UnsetType

from beamhouse.schemas.anthropic.answers import (
    Ending,
    Event,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    Progress,
    SaidToolUse,
    StopReason,
    Usage,
)
from beamhouse.schemas.anthropic.messages import MessagesRequest
from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.words import FinishType
from beamhouse.server.answering.answer_json import encode_json, json_response
from beamhouse.server.answering.run import Run
from beamhouse.server.conversation.reader import TurnReader
from beamhouse.server.doors.anthropic.blocks import BlockEvent, Blocks
from beamhouse.server.doors.anthropic.dialect import error_of
from beamhouse.server.edge.event_stream import as_event

REASONS: dict[FinishType, StopReason] = {
    FinishType.EOS_TOKEN: "end_turn",
    FinishType.STOPPING_CRITERION: "end_turn",
    FinishType.STOP_STRING: "stop_sequence",
    FinishType.LENGTH: "max_tokens",
    FinishType.TIME: "pause_turn",
    FinishType.ERROR: "end_turn",
}
"""A turn that took too long was paused: sent back as it is, it goes on."""


@dataclass(slots=True)
class MessageSpeaker:
    """Says the one turn of a run. reader: tells its text, its thoughts and its calls apart."""

    run: Run
    body: MessagesRequest
    reader: TurnReader
    _blocks: Blocks = field(default_factory=Blocks)

    def begin(self) -> bytes:
        start = self._message(Usage(self.run.accepted.num_prompt_tokens, 0))
        return written([MessageStart(start), Ping()])

    def say(self, event: TokenEvent | TokensEvent | ProgressEvent) -> bytes:
        if isinstance(event, ProgressEvent):
            return written([Progress(event)])
        return written(self._tell(event))

    def end(self, answer: Answer) -> bytes:
        said = written(self._close())
        ending = Ending(*self._reason())
        last = MessageDelta(ending, usage_of(answer), self._warnings(answer), self._native(answer))
        return said + written([last, MessageStop()])

    def fail(self, problem: ProblemJson) -> bytes:
        return written([error_of(problem)])

    def whole(self, answer: Answer) -> Response:
        for event in self.run.retold():
            self._tell(event)
        self._close()
        message = self._message(usage_of(answer))
        message.content = self._blocks.content
        message.stop_reason, message.stop_sequence = self._reason()
        message.warnings, message.native = self._warnings(answer), self._native(answer)
        return json_response(message)

    def _message(self, usage: Usage) -> Message:
        accepted = self.run.accepted
        return Message(id=accepted.id_with("msg_"), model=accepted.model_name, content=[], usage=usage)

    def _tell(self, event: TokenEvent | TokensEvent) -> list[BlockEvent]:
        return list(self._blocks.tell(self.reader.push(event.text or "")))

    def _close(self) -> list[BlockEvent]:
        return [*self._blocks.tell(self.reader.finish()), *self._blocks.close()]

    def _reason(self) -> tuple[StopReason, str | None]:
        """Why the turn ended, and the stop sequence that did it. One that calls tools waits for them."""
        row = self.run.rows[0]
        stop_reason = REASONS[row.finish_reason.type]
        if stop_reason == "max_tokens" and row.num_tokens < self.body.max_tokens:
            return "model_context_window_exceeded", None
        if stop_reason == "end_turn" and any(isinstance(block, SaidToolUse) for block in self._blocks.content):
            return "tool_use", None
        return stop_reason, row.finish_reason.stop_string

    def _warnings(self, answer: Answer) -> list[str] | UnsetType:
        return answer.warnings or UNSET

    def _native(self, answer: Answer) -> Raw | UnsetType:
        return self.run.native(answer, self.body.outputs)


def usage_of(answer: Answer) -> Usage:
    usage = answer.usage
    cached = usage.cached_prompt_tokens
    return Usage(usage.prompt_tokens - cached, usage.generated_tokens, cached)


def written(events: Iterable[Event]) -> bytes:
    """Events as they are sent, each by the name that its `type` repeats."""
    return b"".join(as_event(name_of(event), encode_json(event)) for event in events)


def name_of(event: Event) -> bytes:
    return str(type(event).__struct_config__.tag).encode()
