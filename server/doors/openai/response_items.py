"""A model's turn as items of a response: the events that tell it, and the output they come to."""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from beamhouse.schemas.openai.response_answers import (
    FunctionCallOutput,
    MessageOutput,
    OutputItem,
    OutputText,
    ReasoningOutput,
    ReasoningText,
    Status,
)
from beamhouse.server.conversation.deltas import (
    Call,
    CallArguments,
    CallBegin,
    CallEnd,
    Delta,
    ReasoningDelta,
    TextDelta,
)

ItemEvent = tuple[str, dict[str, Any]]
"""The type of an event without `response.`, and its fields."""


@dataclass(slots=True)
class Items:
    """The items of one turn, one after another. output: all that was told, once `finish` was called.

    response_id: what the ids of the items begin with.
    """

    response_id: str
    output: list[OutputItem] = field(default_factory=list)
    _is_open: bool = False
    _logprobs: list[Any] = field(default_factory=list)

    def tell(self, deltas: Iterable[Delta], logprobs: Sequence[Any] = ()) -> Iterator[ItemEvent]:
        """What deltas add. logprobs: of the tokens they came with; they go with the next text."""
        self._logprobs += logprobs
        for delta in deltas:
            match delta:
                case TextDelta(text) if text:
                    yield from self._within(MessageOutput)
                    yield self._said(text)
                case ReasoningDelta(text) if text:
                    yield from self._within(ReasoningOutput)
                    yield self._thought(text)
                case CallBegin(_, call_id, name):
                    yield from self._begin(FunctionCallOutput(self._new_id("fc"), call_id, name))
                case CallArguments(_, text) if text:
                    yield self._written(text)
                case CallEnd():
                    yield from self._end("completed")
                case _:
                    pass  # nothing was added

    def finish(self, is_cut: bool) -> Iterator[ItemEvent]:
        """End what is open. A turn without anything is an empty message. is_cut: the turn broke off."""
        if not self.output:
            yield from self._within(MessageOutput)
        yield from self._end("incomplete" if is_cut else "completed")

    def _within(self, kind: type[MessageOutput | ReasoningOutput]) -> Iterator[ItemEvent]:
        """Begin an item of this kind unless one is open."""
        if self._is_open and isinstance(self.output[-1], kind):
            return
        part: OutputText | ReasoningText
        if kind is MessageOutput:
            yield from self._begin(MessageOutput(self._new_id("msg")))
            part = OutputText()
        else:
            yield from self._begin(ReasoningOutput(self._new_id("rs")))
            part = ReasoningText()
        yield self._event("content_part.added", content_index=0, part=deepcopy(part))
        self.output[-1].content.append(part)  # type: ignore[union-attr, arg-type]  # the item was made for this part

    def _begin(self, item: OutputItem) -> Iterator[ItemEvent]:
        yield from self._end("completed")
        self.output.append(item)
        self._is_open = True
        yield "output_item.added", {"output_index": self._index, "item": deepcopy(item)}

    def _end(self, status: Status) -> Iterator[ItemEvent]:
        if not self._is_open:
            return
        match self.output[-1]:
            case MessageOutput(content=[part]):
                if self._logprobs:
                    yield self._said("")
                told = {"text": part.text, "logprobs": part.logprobs}
                yield self._event("output_text.done", content_index=0, **told)
                yield self._event("content_part.done", content_index=0, part=part)
            case ReasoningOutput(content=[part]):
                yield self._event("reasoning_text.done", content_index=0, text=part.text)
                yield self._event("content_part.done", content_index=0, part=part)
            case FunctionCallOutput(call_id=call_id, name=name, arguments=arguments):
                is_whole = Call(call_id, name, arguments).values is not None
                status = "completed" if is_whole else "incomplete"
                yield self._event("function_call_arguments.done", name=name, arguments=arguments)
        self._is_open = False
        self.output[-1].status = status
        yield "output_item.done", {"output_index": self._index, "item": deepcopy(self.output[-1])}

    def _said(self, text: str) -> ItemEvent:
        item, logprobs = self.output[-1], self._logprobs
        assert isinstance(item, MessageOutput)
        item.content[0].text += text
        item.content[0].logprobs += logprobs
        self._logprobs = []
        return self._event("output_text.delta", content_index=0, delta=text, logprobs=logprobs)

    def _thought(self, text: str) -> ItemEvent:
        item = self.output[-1]
        assert isinstance(item, ReasoningOutput)
        item.content[0].text += text
        return self._event("reasoning_text.delta", content_index=0, delta=text)

    def _written(self, text: str) -> ItemEvent:
        item = self.output[-1]
        assert isinstance(item, FunctionCallOutput)
        item.arguments += text
        return self._event("function_call_arguments.delta", delta=text)

    def _event(self, name: str, /, **fields: Any) -> ItemEvent:
        return name, {"item_id": self.output[-1].id, "output_index": self._index, **fields}

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{self.response_id}_{len(self.output)}"

    @property
    def _index(self) -> int:
        return len(self.output) - 1
