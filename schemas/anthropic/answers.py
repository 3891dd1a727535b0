"""What the routes of Anthropic's protocol answer, whole and in pieces.

They are written once and never read here, so they are plain structures that one call encodes.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from beamhouse.schemas.beamhouse.events import ProgressEvent

StopReason = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "model_context_window_exceeded"
]


class SaidText(msgspec.Struct, tag="text"):
    """What the model said."""

    text: str = ""


class SaidThinking(msgspec.Struct, tag="thinking"):
    """What it thought before. signature: a hash of that."""

    thinking: str = ""
    signature: str = ""


class SaidToolUse(msgspec.Struct, tag="tool_use"):
    """A call of a tool."""

    id: str
    name: str
    input: dict[str, Any] = {}


SaidBlock = SaidText | SaidThinking | SaidToolUse


class Usage(msgspec.Struct, frozen=True):
    """Tokens. input_tokens: those of the prompt that were computed; beside them those that the cache held."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0


class Message(msgspec.Struct, tag="message", kw_only=True):
    """The answer of `POST /v1/messages`; in `message_start` what is known of it then.

    warnings: what of the request has no effect. native: the answer of `/generate`, for a request with `outputs`.
    """

    id: str
    model: str
    content: list[SaidBlock]
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    stop_details: None = None
    usage: Usage
    role: str = "assistant"
    warnings: list[str] | UnsetType = UNSET
    native: msgspec.Raw | UnsetType = UNSET


class TokenCount(msgspec.Struct, frozen=True):
    """The answer of `POST /v1/messages/count_tokens`."""

    input_tokens: int


class TextPiece(msgspec.Struct, tag="text_delta", frozen=True):
    """More of a text."""

    text: str


class ThinkingPiece(msgspec.Struct, tag="thinking_delta", frozen=True):
    """More of the thoughts."""

    thinking: str


class SignaturePiece(msgspec.Struct, tag="signature_delta", frozen=True):
    """What stands under the thoughts; nothing more of them comes."""

    signature: str


class InputPiece(msgspec.Struct, tag="input_json_delta", frozen=True):
    """More of the JSON of an input."""

    partial_json: str


class MessageStart(msgspec.Struct, tag="message_start", frozen=True):
    """Begins a stream."""

    message: Message


class Progress(msgspec.Struct, tag="progress", frozen=True):
    """How a beam search stands, for a request with `outputs.progress`."""

    progress: ProgressEvent


class Ping(msgspec.Struct, tag="ping", frozen=True):
    """Says nothing."""


class BlockStart(msgspec.Struct, tag="content_block_start", frozen=True):
    """Begins a block."""

    index: int
    content_block: SaidBlock


class BlockDelta(msgspec.Struct, tag="content_block_delta", frozen=True):
    """Adds to the block."""

    index: int
    delta: TextPiece | ThinkingPiece | SignaturePiece | InputPiece


class BlockStop(msgspec.Struct, tag="content_block_stop", frozen=True):
    """Ends it."""

    index: int


class Ending(msgspec.Struct, frozen=True):
    """Why the message ended. stop_sequence: the one that ended it."""

    stop_reason: StopReason
    stop_sequence: str | None
    stop_details: None = None


class MessageDelta(msgspec.Struct, tag="message_delta", frozen=True):
    """What is known of the whole at the end; see `Message`."""

    delta: Ending
    usage: Usage
    warnings: list[str] | UnsetType = UNSET
    native: msgspec.Raw | UnsetType = UNSET


class MessageStop(msgspec.Struct, tag="message_stop", frozen=True):
    """Ends a stream."""


class ErrorDetail(msgspec.Struct, frozen=True):
    """What went wrong."""

    type: str
    message: str


class ErrorAnswer(msgspec.Struct, tag="error", frozen=True):
    """Why there is no answer; in a stream its last event."""

    error: ErrorDetail
    request_id: str


Event = MessageStart | Ping | Progress | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | ErrorAnswer
