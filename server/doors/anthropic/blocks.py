"""A model's turn as blocks of Anthropic's protocol: the events that tell it, and the content they come to."""

import hashlib
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from beamhouse.schemas.anthropic.answers import (
    BlockDelta,
    BlockStart,
    BlockStop,
    InputPiece,
    SaidBlock,
    SaidText,
    SaidThinking,
    SaidToolUse,
    SignaturePiece,
    TextPiece,
    ThinkingPiece,
)
from beamhouse.server.conversation.deltas import CallArguments, CallBegin, CallEnd, Delta, ReasoningDelta, TextDelta

BlockEvent = BlockStart | BlockDelta | BlockStop
INVALID = "INVALID_JSON"
"""The only key of an input that the model did not write as JSON."""


@dataclass(slots=True)
class Blocks:
    """The blocks of one turn, one after another. content: all that was told, once `close` was called."""

    content: list[SaidBlock] = field(default_factory=list)
    _written: str = ""
    _is_open: bool = False

    def tell(self, deltas: Iterable[Delta]) -> Iterator[BlockEvent]:
        """What deltas add."""
        for delta in deltas:
            match delta:
                case TextDelta(text) if text:
                    yield from self._within(SaidText)
                    yield self._piece(TextPiece(text), text)
                case ReasoningDelta(text) if text:
                    yield from self._within(SaidThinking)
                    yield self._piece(ThinkingPiece(text), text)
                case CallBegin(_, call_id, name):
                    yield from self._begin(SaidToolUse(call_id, name))
                case CallArguments(_, text) if text:
                    yield self._piece(InputPiece(text), text)
                case CallEnd():
                    yield from self.close()
                case _:
                    pass  # nothing was added

    def close(self) -> Iterator[BlockEvent]:
        """End the block that is open, if one is."""
        if not self._is_open:
            return
        self._is_open = False
        match self.content[-1]:
            case SaidText() as block:
                block.text = self._written
            case SaidThinking() as block:
                block.thinking, block.signature = self._written, signature_of(self._written)
                yield BlockDelta(self._index, SignaturePiece(block.signature))
            case SaidToolUse() as block:
                block.input = input_of(self._written)
        yield BlockStop(self._index)

    @property
    def _index(self) -> int:
        return len(self.content) - 1

    def _within(self, kind: type[SaidText | SaidThinking]) -> Iterator[BlockEvent]:
        """Begin a block of this kind unless one is open."""
        if not (self._is_open and isinstance(self.content[-1], kind)):
            yield from self._begin(kind())

    def _begin(self, block: SaidBlock) -> Iterator[BlockEvent]:
        yield from self.close()
        self.content.append(block)
        self._written, self._is_open = "", True
        yield BlockStart(self._index, copy(block))

    def _piece(self, piece: TextPiece | ThinkingPiece | InputPiece, text: str) -> BlockDelta:
        self._written += text
        return BlockDelta(self._index, piece)


def signature_of(thinking: str) -> str:
    """Clients send no thoughts back that are not signed. It is a hash: it hides nothing, and nobody checks it."""
    return hashlib.sha256(thinking.encode()).hexdigest()


def input_of(written: str) -> dict[str, Any]:
    """The input of a call, as far as it was written; what is no JSON of an object stands under `INVALID`."""
    if not written.strip():
        return {}
    try:
        read = from_json(written, allow_partial=True)
    except ValueError:
        read = None
    return read if isinstance(read, dict) else {INVALID: written}
