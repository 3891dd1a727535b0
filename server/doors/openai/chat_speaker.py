"""How a run is said as the answer of an assistant: whole, or as the chunks of a stream."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response
from msgspec import UNSET, UnsetType

from beamhouse.schemas.beamhouse.answers import Answer
from beamhouse.schemas.beamhouse.events import ProgressEvent, TokenEvent, TokensEvent
from beamhouse.schemas.beamhouse.problem_json import ProblemJson
from beamhouse.schemas.openai.answers import (
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatLogprobs,
    ChatMessage,
    FunctionCall,
    ToolCall,
)
from beamhouse.schemas.openai.chat import ChatRequest
from beamhouse.server.answering.answer import OutputRow
from beamhouse.server.answering.answer_json import encode_json, json_response
from beamhouse.server.answering.run import Run
from beamhouse.server.conversation.deltas import (
    CallArguments,
    CallBegin,
    CallEnd,
    Delta,
    ReasoningDelta,
    TextDelta,
    joined,
)
from beamhouse.server.conversation.reader import TurnReader
from beamhouse.server.doors.openai.dialect import DONE, failure
from beamhouse.server.doors.openai.telling import Gained, Telling, usage_of
from beamhouse.server.edge.event_stream import as_data


@dataclass(slots=True)
class ChatSpeaker:
    """Says what is text, reasoning and calls of tools as it grows, and the end of each answer in a chunk of its own.

    readers: what the text of each choice means. Log-probabilities of a search come whole with the end.
    """

    run: Run
    body: ChatRequest
    readers: Sequence[TurnReader]
    told: Telling = field(init=False)
    is_late: bool = field(init=False)
    _callers: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.told = Telling("chatcmpl-", self.run, self.body)
        self.is_late = bool(self.body.logprobs) and self.run.accepted.config.mode.spec.is_search

    def begin(self) -> bytes:
        """Who speaks."""
        ids = self.told.told_prompt_ids(0)
        role = ChatMessage(role="assistant", content="")
        return b"".join(
            self._chunk(ChatChunkChoice(index, role), prompt_token_ids=ids) for index in range(self.told.width)
        )

    def say(self, event: TokenEvent | TokensEvent | ProgressEvent) -> bytes:
        if isinstance(event, ProgressEvent):
            return self._written(progress=event)
        gained, is_ended = Gained.of(event), self.told.is_ended(event)
        said = b"".join(map(self._chunk, self._pieces(gained, self._read(gained, is_last=is_ended))))
        if is_ended:
            row = self.run.rows[gained.sequence]
            said += self._chunk(self._ending(row, self._late_logprobs(row)))
        return said

    def end(self, answer: Answer) -> bytes:
        said = b""
        for row in self.told.unended():
            nothing = Gained(row.index, [], "", (), ())
            said += b"".join(map(self._chunk, self._pieces(nothing, self._read(nothing, is_last=True))))
            said += self._chunk(self._ending(row, self._late_logprobs(row)))
        more = {
            "usage": usage_of(answer) if self.told.has_usage else UNSET,
            "prompt_logprobs": self.told.prompt_logprobs(answer, 0),
            "warnings": self.told.warnings(answer),
            "native": self.told.native(answer),
        }
        if any(value is not UNSET for value in more.values()):
            said += self._written(**more)
        return said + DONE

    def fail(self, problem: ProblemJson) -> bytes:
        return failure(problem)

    def whole(self, answer: Answer) -> Response:
        told = self.told
        content = ChatCompletion(
            told.id,
            told.created,
            told.model,
            told.system_fingerprint,
            [self._choice(index, row) for index, row in enumerate(told.told_rows())],
            usage=usage_of(answer),
            prompt_token_ids=told.told_prompt_ids(0),
            prompt_logprobs=told.prompt_logprobs(answer, 0),
            warnings=told.warnings(answer),
            native=told.native(answer),
        )
        return json_response(content)

    def _choice(self, index: int, row: OutputRow) -> ChatChoice:
        gained = Gained.of(row.retold(self.run.model.text))
        message = whole_message(self._read(gained, is_last=True))
        return ChatChoice(
            index,
            message,
            self._logprobs(gained),
            self._reason(row),
            self.told.stop_reason(row),
            self.told.token_ids(gained),
        )

    def _read(self, gained: Gained, *, is_last: bool) -> list[Delta]:
        """What the text of a choice means."""
        reader = self.readers[gained.sequence]
        deltas = reader.push(gained.text) if gained.text else []
        if is_last:
            deltas += reader.finish()
        if any(isinstance(delta, CallBegin) for delta in deltas):
            self._callers.add(gained.sequence)
        hidden: tuple[type[Delta], ...] = (ReasoningDelta,) if self.body.include_reasoning is False else ()
        return [delta for delta in deltas if not isinstance(delta, hidden)]

    def _pieces(self, gained: Gained, deltas: Sequence[Delta]) -> Iterator[ChatChunkChoice]:
        """One for each delta; the first has what is told of the tokens, and is empty where there is none."""
        messages = [message for delta in deltas if (message := message_of(delta)) is not None]
        logprobs = None if self.is_late else self._logprobs(gained)
        token_ids = self.told.token_ids(gained)
        if not messages and gained.token_ids and (logprobs is not None or token_ids is not UNSET):
            messages = [ChatMessage()]
        for message in messages:
            yield ChatChunkChoice(gained.sequence, message, logprobs, token_ids=token_ids)
            logprobs, token_ids = None, UNSET

    def _ending(self, row: OutputRow, logprobs: ChatLogprobs | None) -> ChatChunkChoice:
        return ChatChunkChoice(row.index, ChatMessage(), logprobs, self._reason(row), self.told.stop_reason(row))

    def _reason(self, row: OutputRow) -> str:
        """A turn that ends by itself and calls tools waits for them."""
        reason = self.told.reason(row)
        return "tool_calls" if reason == "stop" and row.index in self._callers else reason

    def _late_logprobs(self, row: OutputRow) -> ChatLogprobs | None:
        return self._logprobs(Gained.of(row.retold(self.run.model.text))) if self.is_late else None

    def _logprobs(self, gained: Gained) -> ChatLogprobs | None:
        if not self.body.logprobs or not gained.token_ids:
            return None
        return ChatLogprobs(self.told.names.likelihoods(gained))

    def _chunk(self, choice: ChatChunkChoice, prompt_token_ids: list[int] | UnsetType = UNSET) -> bytes:
        chunk = self._unwritten([choice], usage=self.told.usage_so_far(), prompt_token_ids=prompt_token_ids)
        return as_data(encode_json(chunk))

    def _written(self, **more: Any) -> bytes:
        """A chunk without a choice."""
        return as_data(encode_json(self._unwritten([], **more)))

    def _unwritten(self, choices: list[ChatChunkChoice], **more: Any) -> ChatChunk:
        told = self.told
        return ChatChunk(told.id, told.created, told.model, told.system_fingerprint, choices, **more)


def message_of(delta: Delta) -> ChatMessage | None:
    """What a delta adds to a message; the end of a call adds nothing."""
    match delta:
        case TextDelta():
            return ChatMessage(content=delta.text)
        case ReasoningDelta():
            return ChatMessage(reasoning_content=delta.text)
        case CallBegin():
            call = ToolCall(FunctionCall(delta.name, ""), delta.index, delta.call_id, "function")
            return ChatMessage(tool_calls=[call])
        case CallArguments():
            return ChatMessage(tool_calls=[ToolCall(FunctionCall(arguments=delta.text), delta.index)])
        case CallEnd():
            return None


def whole_message(deltas: Sequence[Delta]) -> ChatMessage:
    turn = joined(deltas)
    calls = [ToolCall(FunctionCall(call.name, call.arguments), id=call.call_id, type="function") for call in turn.calls]
    return ChatMessage(
        role="assistant",
        content=turn.text if turn.text or not calls else None,
        reasoning_content=turn.reasoning or UNSET,
        refusal=None,
        tool_calls=calls or UNSET,
    )
